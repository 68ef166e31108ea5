"""Tables and the figure of study (a)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

COLOURS = {"learned": "#0072B2", "cascade": "#D55E00", "router": "#999999"}


def percent(values: list[float | None], digits: int = 1) -> str:
    """An estimate with its interval, of shares; None where no policy of a front gets that far."""
    if values[0] is None:
        return "not reached"
    value, low, high = (f"{100 * v:.{digits}f}" for v in values)
    return f"{value} % [{low}, {high}]"


def points(values: list[float]) -> str:
    """A difference of accuracies with its interval."""
    value, low, high = (f"{100 * v:+.1f}" for v in values)
    return f"{value} points [{low}, {high}]"


def verdict(head: dict[str, Any]) -> list[str]:
    """The three bars, each with what was measured and whether it is met."""
    share, gain = head["match_cost_share"], head["match_accuracy_gain"]
    budget, paid = head["budget_accuracy_gain"], head["budget_cost_share"]
    saving = head["saving_against_cheapest_rule"]
    # Matching means: not below the best single model by more than the noise.
    matched = gain[2] >= 0
    bars = [
        ("at the accuracy of the best single model, <= 40 % of its cost",
         f"{percent(share)} of its cost, accuracy {points(gain)}",
         matched and share[0] <= 0.40),
        ("at the cost of the best single model, accuracy above it by more than the noise",
         f"{points(budget)} at {percent(paid)} of its cost", budget[1] > 0),
        (f">= 15 % cheaper than the cheapest rule that is as accurate ({head['cheapest_rule']})",
         percent(saving), matched and saving[0] >= 0.15 and saving[1] > 0),
    ]  # fmt: skip
    return [f"| {bar} | {found} | {'yes' if met else '**no**'} |" for bar, found, met in bars]


def to_markdown(results: dict[str, Any]) -> str:
    lines = [
        f"# Recorded {results['set']}: learned anytime policy and hand-made rules", "",
        f"{results['questions']} test questions, five folds by content hash, every question tested "
        "once. Costs: list prices of configs/prices.yaml; tokens estimated at four characters; the "
        "prompt is the question alone unless a table says otherwise, because the records hold no "
        "prompts. Nothing is drawn in learning; intervals are bootstraps over questions. A row is "
        "as accurate as another if its accuracy is no lower; at the accuracy of the best single "
        "model means that the interval of the difference reaches 0.", "",
    ]  # fmt: skip
    for name, study in results["studies"].items():
        head = study["headline"]
        lines += [
            f"## Team {name}", "", "| to reach | measured [95 %] | reached |", "|---|---|---|",
            *verdict(head), "",
            "Against the best mixture of two rules picked on the test questions themselves: "
            f"{percent(head['saving_against_best_front'])} cheaper. "
            f"Cost share at the accuracy of the best single model ({study['best_single']}), read "
            f"off the fronts of the test questions: learned "
            f"{percent(head['front_cost_share_at_best_accuracy'])}, rules "
            f"{percent(head['rules_cost_share_at_best_accuracy'])}. Learning pays for itself after "
            f"{head['break_even_questions'] or 'no number of'} questions.", "",
            "| row | accuracy [95 %] | $ per 1,000 [95 %] | tokens | calls | share of best single "
            "| p vs best single | p vs cascade |", "|---|---|---|---|---|---|---|---|",
        ]  # fmt: skip
        for row in study["rows"]:
            dollars = row["dollars_per_1000"]
            lines.append(
                f"| {row['name']} | {percent(row['accuracy'])} | {dollars[0]:.4f} "
                f"[{dollars[1]:.4f}, {dollars[2]:.4f}] | {row['tokens'][0]:,.0f} "
                f"| {row['calls']:.2f} | {100 * row['share']:.1f} % "
                f"| {row['against_best_single']['p']:.3g} | {row['against_cascade']['p']:.3g} |"
            )
        control = study["shuffled_control"]
        others = [entry["value"] for key, entry in control.items() if key != "real"]
        shipped = [f"{note['goal']}: {note['shipped']}" for note in study["folds"]]
        counts = ", ".join(f"{key} ×{shipped.count(key)}" for key in dict.fromkeys(shipped))
        lines += [
            "", f"- Features of another question (5 shuffles): accuracy − price · cost falls from "
            f"{control['real']['value']:.4f} to {min(others):.4f} … {max(others):.4f}.",
            f"- The guard let through, by fold: {counts}.",
            "- A judge that never errs, asking "
            f"{' then '.join(study['perfect_judge']['agents'])} until a reply is right, would pay "
            f"{percent(study['perfect_judge']['share'])} of the best single model's cost at "
            f"{100 * study['perfect_judge']['accuracy']:.1f} % right.", "",
        ]  # fmt: skip
    if "self_consistency" not in results:
        return "\n".join(lines) + "\n"
    lines += ["## Self-consistency of gpt-4", ""]
    lines += ["| row | accuracy | $ per 1,000 | tokens |", "|---|---|---|---|"]
    for row in results["self_consistency"]:
        lines.append(
            f"| {row['name']} | {percent(row['accuracy'])} | {row['dollars_per_1000'][0]:.2f} "
            f"| {row['tokens'][0]:,.0f} |"
        )
    return "\n".join(lines) + "\n"


def draw(results: dict[str, Any], path: Path) -> None:
    """Accuracy against cost, one panel a team."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "0", "font.size": 8})
    shown = [name for name in results["studies"] if "tokens" not in name]
    figure, panels = pyplot.subplots(2, 3, figsize=(12, 7), sharey=True)
    for panel, name in zip(panels.flat, shown, strict=False):
        study = results["studies"][name]
        for kind, colour in COLOURS.items():
            points = sorted((cost, 100 * right) for right, cost in study["fronts"][kind])
            style = {"color": colour, "markersize": 3, "linewidth": 1, "label": kind}
            panel.plot(*zip(*points, strict=True), "o-", **style)
        for row in study["rows"]:
            if row["name"].startswith("single: "):
                at = row["share"], 100 * row["accuracy"][0]
                panel.plot(*at, "k^", markersize=4)
                panel.annotate(
                    row["name"][8:], at, xytext=(3, -8), textcoords="offset points", fontsize=6
                )
        panel.set_title(name, fontsize=9)
        panel.set_xscale("log")
        panel.set_ylim(80, 97)
        panel.set_xlabel("cost, best single model = 1")
        panel.grid(alpha=0.3)
    for panel in panels.flat[len(shown) :]:
        panel.set_axis_off()
    panels[0, 0].legend(fontsize=7, frameon=False)
    panels[0, 0].set_ylabel("accuracy, %")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
