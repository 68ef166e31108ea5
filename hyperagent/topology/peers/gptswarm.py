"""GPTSwarm's optimisation of edges, over our orchestrator."""

from __future__ import annotations

from os import PathLike

from hyperagent.topology.peers.static import StaticArcs


class GptSwarm(StaticArcs):
    """One probability for each directed edge between agents, learned by REINFORCE.

    The reward is correctness alone; tokens have no price, so that nothing speaks against an arc
    that does no harm: its probability drifts. The topology does not depend on the task.

    What differs from the original: its nodes are operations inside agents and the prompts of
    nodes can be optimised too; here a node is an agent. Its learned order of the nodes, an option
    there, is left out: arcs are drawn in the order of the agents, best first, with the check for
    cycles. Its final decision node is the decision of our orchestrator. How an arc is executed is
    described at `hyperagent.topology.peers.dag.as_phases`.

    Parameters
    ----------
    mode : {"sample", "mode"}
        Draw a graph for each task, or take the arcs of probability above 1/2.
    lr : float
        Of Adam.
    baseline : bool or int
        Subtract a moving average of the rewards. The original does so in one of its experiments
        (crosswords) and not in another (MMLU).
    weights : path, optional
        Folder written by `save`.

    Raises
    ------
    ConfigError
        Naming the option, or the folder, that cannot be used.

    References
    ----------
    Zhuge et al., "GPTSwarm: language agents as optimizable graphs", ICML 2024, arXiv 2402.16823,
    edge optimisation.
    """

    name = "gptswarm"
    episodes = 200

    def __init__(
        self,
        *,
        mode: str = "sample",
        lr: float = 0.1,
        baseline: bool | int = False,
        weights: str | PathLike[str] | None = None,
    ) -> None:
        super().__init__(mode=mode, lr=lr, baseline=bool(baseline), weights=weights)
