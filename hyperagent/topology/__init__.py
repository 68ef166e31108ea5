"""Designers: which agents meet in which groups, for a given task.

Importing this room loads neither numpy nor torch; the names that need them do so on
first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hyperagent.topology.design import (
    AgentLike,
    Design,
    Designer,
    Expected,
    Guide,
    StopRule,
    TaskLike,
    Vote,
)
from hyperagent.topology.designer import designer, designers
from hyperagent.topology.fixed import FixedDesigner

if TYPE_CHECKING:
    from hyperagent.topology.anytime import AnytimePolicy, Beliefs
    from hyperagent.topology.anytime_designer import AnytimeDesigner
    from hyperagent.topology.bandit import DEFAULT_ARM, Bandit, Online, Play
    from hyperagent.topology.candidates import portfolio, sub_hypergraphs
    from hyperagent.topology.cascade import Cascade, search_cascades
    from hyperagent.topology.codebook import CodebookDesigner, default_codes
    from hyperagent.topology.collect import explore, follow, race
    from hyperagent.topology.conv import SoftHypergraphConv
    from hyperagent.topology.distil import Distillation, good_targets
    from hyperagent.topology.encoders import TextEncoder, text_encoder
    from hyperagent.topology.features import encode_texts
    from hyperagent.topology.learned import LearnedDesigner
    from hyperagent.topology.outcomes import Outcome, OutcomeLog
    from hyperagent.topology.paper import PaperDesigner
    from hyperagent.topology.partners import Partners
    from hyperagent.topology.peers.agentprune import AgentPrune
    from hyperagent.topology.peers.consistency import (
        AdaptiveConsistency,
        EarlyStoppingConsistency,
        Plurality,
    )
    from hyperagent.topology.peers.dylan import Dylan
    from hyperagent.topology.peers.escalation import Escalation
    from hyperagent.topology.peers.gdesigner import GDesigner
    from hyperagent.topology.peers.gptswarm import GptSwarm
    from hyperagent.topology.peers.router import Router
    from hyperagent.topology.probe import ProbePolicy, Probes, with_probe
    from hyperagent.topology.probe_designer import ProbeDesigner
    from hyperagent.topology.rehearsal import Choice, choose_policy, rehearse
    from hyperagent.topology.replies import Played, Replies, recorded_replies
    from hyperagent.topology.rloo import Reinforcement
    from hyperagent.topology.slots import SlotDistribution
    from hyperagent.topology.stops import Adaptive, Agreement, Posterior, Window
    from hyperagent.topology.surrogate import Surrogate
    from hyperagent.topology.surrogate_designer import SurrogateDesigner
    from hyperagent.topology.vae import VaeDesigner
    from hyperagent.topology.verdict import Verdict, judge

_LAZY = {
    "Adaptive": "stops",
    "AdaptiveConsistency": "peers.consistency",
    "AgentPrune": "peers.agentprune",
    "Agreement": "stops",
    "AnytimeDesigner": "anytime_designer",
    "AnytimePolicy": "anytime",
    "Bandit": "bandit",
    "Beliefs": "anytime",
    "Cascade": "cascade",
    "Choice": "rehearsal",
    "CodebookDesigner": "codebook",
    "DEFAULT_ARM": "bandit",
    "Distillation": "distil",
    "Dylan": "peers.dylan",
    "EarlyStoppingConsistency": "peers.consistency",
    "Escalation": "peers.escalation",
    "GDesigner": "peers.gdesigner",
    "GptSwarm": "peers.gptswarm",
    "LearnedDesigner": "learned",
    "Online": "bandit",
    "Outcome": "outcomes",
    "OutcomeLog": "outcomes",
    "PaperDesigner": "paper",
    "Partners": "partners",
    "Play": "bandit",
    "Played": "replies",
    "Plurality": "peers.consistency",
    "Posterior": "stops",
    "ProbeDesigner": "probe_designer",
    "ProbePolicy": "probe",
    "Probes": "probe",
    "Reinforcement": "rloo",
    "Replies": "replies",
    "Router": "peers.router",
    "SlotDistribution": "slots",
    "SoftHypergraphConv": "conv",
    "Surrogate": "surrogate",
    "SurrogateDesigner": "surrogate_designer",
    "TextEncoder": "encoders",
    "VaeDesigner": "vae",
    "Verdict": "verdict",
    "Window": "stops",
    "choose_policy": "rehearsal",
    "default_codes": "codebook",
    "encode_texts": "features",
    "explore": "collect",
    "follow": "collect",
    "good_targets": "distil",
    "judge": "verdict",
    "portfolio": "candidates",
    "race": "collect",
    "recorded_replies": "replies",
    "rehearse": "rehearsal",
    "search_cascades": "cascade",
    "sub_hypergraphs": "candidates",
    "text_encoder": "encoders",
    "with_probe": "probe",
}

__all__ = [
    "DEFAULT_ARM",
    "Adaptive",
    "AdaptiveConsistency",
    "AgentLike",
    "AgentPrune",
    "Agreement",
    "AnytimeDesigner",
    "AnytimePolicy",
    "Bandit",
    "Beliefs",
    "Cascade",
    "Choice",
    "CodebookDesigner",
    "Design",
    "Designer",
    "Distillation",
    "Dylan",
    "EarlyStoppingConsistency",
    "Escalation",
    "Expected",
    "FixedDesigner",
    "GDesigner",
    "GptSwarm",
    "Guide",
    "LearnedDesigner",
    "Online",
    "Outcome",
    "OutcomeLog",
    "PaperDesigner",
    "Partners",
    "Play",
    "Played",
    "Plurality",
    "Posterior",
    "ProbeDesigner",
    "ProbePolicy",
    "Probes",
    "Reinforcement",
    "Replies",
    "Router",
    "SlotDistribution",
    "SoftHypergraphConv",
    "StopRule",
    "Surrogate",
    "SurrogateDesigner",
    "TaskLike",
    "TextEncoder",
    "VaeDesigner",
    "Verdict",
    "Vote",
    "Window",
    "choose_policy",
    "default_codes",
    "designer",
    "designers",
    "encode_texts",
    "explore",
    "follow",
    "good_targets",
    "judge",
    "portfolio",
    "race",
    "recorded_replies",
    "rehearse",
    "search_cascades",
    "sub_hypergraphs",
    "text_encoder",
    "with_probe",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
