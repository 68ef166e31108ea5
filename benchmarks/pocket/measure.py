"""A quick figure while training: would the model calculate what the solution calculates?"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import torch
from examples import Encoded, batches


@torch.no_grad()
def forced_accuracy(model: Any, chats: list[Encoded], tokens: int = 8192) -> dict[str, float]:
    """Share of problems of which every calculation and the answer are the most probable ones.

    The model sees the true solution up to each token; the words that name a step and the values
    that the calculator writes are left out. It costs one forward pass, and comes close to the
    accuracy of greedy decoding with the calculator.

    Parameters
    ----------
    model : LlamaForCausalLM
    chats : list of Encoded
    tokens : int
        Largest batch, padding included.
    """
    model.eval()
    device = next(model.parameters()).device
    right: dict[str, list[float]] = defaultdict(list)
    for batch in batches(chats, tokens):
        longest = max(len(chat.ids) for chat in batch)
        ids = np.zeros((len(batch), longest), dtype=np.int64)
        must = np.zeros((len(batch), longest), dtype=bool)
        for row, chat in enumerate(batch):
            ids[row, : len(chat.ids)] = chat.ids
            must[row, : len(chat.ids)] = chat.weights == 1
        inputs = torch.from_numpy(ids).to(device)
        prefix = torch.tensor([batch[0].prefix] * len(batch), dtype=torch.long, device=device)
        whole = torch.cat([prefix, inputs], 1)
        with torch.autocast(device.type, torch.bfloat16):
            logits = model(whole, use_cache=False).logits[:, prefix.shape[1] :]
        said = logits[:, :-1].argmax(-1).cpu().numpy() == ids[:, 1:]
        good = (said | ~must[:, 1:]).all(1)
        for chat, hit in zip(batch, good, strict=True):
            right[chat.kind].append(float(hit))
    scores = {f"forced_{kind}": float(np.mean(hits)) for kind, hits in sorted(right.items())}
    return {"forced": float(np.mean(np.concatenate(list(right.values())))), **scores}
