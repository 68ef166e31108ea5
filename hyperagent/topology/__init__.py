"""Designers: which agents meet in which groups, for a given task.

Importing this room loads neither numpy nor torch; the names that need them do so on
first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hyperagent.topology.design import AgentLike, Design, Designer, StopRule, TaskLike, Vote
from hyperagent.topology.designer import designer, designers
from hyperagent.topology.fixed import FixedDesigner

if TYPE_CHECKING:
    from hyperagent.topology.anytime import AnytimePolicy, Beliefs
    from hyperagent.topology.cascade import Cascade, search_cascades
    from hyperagent.topology.conv import SoftHypergraphConv
    from hyperagent.topology.features import encode_texts
    from hyperagent.topology.paper import PaperDesigner
    from hyperagent.topology.partners import Partners
    from hyperagent.topology.peers.agentprune import AgentPrune
    from hyperagent.topology.peers.consistency import (
        AdaptiveConsistency,
        EarlyStoppingConsistency,
        Plurality,
    )
    from hyperagent.topology.peers.dylan import Dylan
    from hyperagent.topology.peers.gdesigner import GDesigner
    from hyperagent.topology.peers.gptswarm import GptSwarm
    from hyperagent.topology.peers.router import Router
    from hyperagent.topology.rehearsal import Choice, choose_policy, rehearse
    from hyperagent.topology.replies import Played, Replies, recorded_replies
    from hyperagent.topology.stops import Adaptive, Agreement, Posterior, Window

_LAZY = {
    "Adaptive": "stops",
    "AdaptiveConsistency": "peers.consistency",
    "AgentPrune": "peers.agentprune",
    "Agreement": "stops",
    "AnytimePolicy": "anytime",
    "Beliefs": "anytime",
    "Cascade": "cascade",
    "Choice": "rehearsal",
    "Dylan": "peers.dylan",
    "EarlyStoppingConsistency": "peers.consistency",
    "GDesigner": "peers.gdesigner",
    "GptSwarm": "peers.gptswarm",
    "PaperDesigner": "paper",
    "Partners": "partners",
    "Played": "replies",
    "Plurality": "peers.consistency",
    "Posterior": "stops",
    "Replies": "replies",
    "Router": "peers.router",
    "SoftHypergraphConv": "conv",
    "Window": "stops",
    "choose_policy": "rehearsal",
    "encode_texts": "features",
    "recorded_replies": "replies",
    "rehearse": "rehearsal",
    "search_cascades": "cascade",
}

__all__ = [
    "Adaptive",
    "AdaptiveConsistency",
    "AgentLike",
    "AgentPrune",
    "Agreement",
    "AnytimePolicy",
    "Beliefs",
    "Cascade",
    "Choice",
    "Design",
    "Designer",
    "Dylan",
    "EarlyStoppingConsistency",
    "FixedDesigner",
    "GDesigner",
    "GptSwarm",
    "PaperDesigner",
    "Partners",
    "Played",
    "Plurality",
    "Posterior",
    "Replies",
    "Router",
    "SoftHypergraphConv",
    "StopRule",
    "TaskLike",
    "Vote",
    "Window",
    "choose_policy",
    "designer",
    "designers",
    "encode_texts",
    "recorded_replies",
    "rehearse",
    "search_cascades",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
