"""The data sets: one declaration each.

Every row function reads two forms of a record: ours, and the one that the makers publish. Where
an `Official` address is given, its checksum is that of the file at the commit in the address.
The rest has none: ASDiv is published as XML under a non-commercial licence, MMLU as one archive
of CSV files, and the MBPP file lies in a repository whose exact bytes were not seen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hyperagent.tasks import numbers
from hyperagent.tasks.data import File, FileSet, Row
from hyperagent.tasks.download import Official
from hyperagent.tasks.programs import entry_point_of
from hyperagent.tasks.task import Task

_RAW = "https://raw.githubusercontent.com"
_MATH = ("numeric", "strict", "flexible")


def _number(answer: Any) -> str:
    """Gold number in the one spelling; a data set without a readable gold is damaged."""
    number = numbers.read(str(answer))
    if number is None:
        raise ValueError(f"the gold answer {answer!r} is not a number")
    return numbers.spell(number)


def _gsm8k(row: Row, index: int, split: str) -> Task:
    solution, _, gold = str(row["answer"]).rpartition("####")
    return Task(
        question=row["question"],
        id=row.get("id", f"gsm8k_{split}_{index:04d}"),
        answer=_number(gold),
        meta={"solution": row.get("rationale", solution.strip())},
    )


def _equations(name: str, first: str | None = None) -> Callable[[Row, int, str], Task]:
    """Reader of the three MAWPS sets; their official files are lists of alignments."""

    def row(record: Row, index: int, split: str) -> Task:
        if "sQuestion" not in record:
            return Task(
                question=record["question"].strip(),
                id=record["id"],
                answer=_number(record["answer"]),
                meta={"equation": record["equation"]},
            )
        return Task(
            question=record["sQuestion"].strip(),
            id=f"{name}_{record[first] if first else index}",
            answer=_number(record["lSolutions"][0]),
            meta={"equation": record["lEquations"][0]},
        )

    return row


def _svamp(row: Row, index: int, split: str) -> Task:
    if "ID" in row:
        question = f"{row['Body'].strip().rstrip('.')}. {row['Question'].strip()}"
        return Task(question, f"svamp_{row['ID']}", _number(row["Answer"]),
                    meta={"equation": row["Equation"], "type": row["Type"]})  # fmt: skip
    return Task(row["question"], row["id"], _number(row["answer"]),
                meta={"equation": row["equation"], "type": row["type"]})  # fmt: skip


def _asdiv(row: Row, index: int, split: str) -> Task:
    gold, _, unit = str(row["answer"]).partition("(")
    gold, number = gold.strip(), None
    if numbers.NUMBER.fullmatch(gold):
        number = numbers.read(gold)
    return Task(
        question=row["question"],
        id=row["id"],
        answer=gold if number is None else numbers.spell(number),
        kind="text" if number is None else "number",
        meta={"unit": unit.rstrip(")"), "grade": row["grade"], "type": row["type"]},
    )


def _aqua(row: Row, index: int, split: str) -> Task:
    return Task(
        question=row["question"],
        id=row.get("id", f"aqua_{split}_{index}"),
        answer=row["correct"],
        kind="choice",
        choices=tuple(option.partition(")")[2].strip() or option for option in row["options"]),
        meta={"solution": row["rationale"]},
    )


def _mmlu(row: Row, index: int, split: str) -> Task:
    return Task(row["question"], row["id"], row["answer"], kind="choice",
                choices=tuple(row["choices"]), meta={"subject": row["subject"]})  # fmt: skip


def _humaneval(row: Row, index: int, split: str) -> Task:
    return Task(
        question=row["prompt"],
        id=row["task_id"],
        answer=row["canonical_solution"],
        kind="code",
        meta={
            "entry_point": row["entry_point"],
            "prompt": row["prompt"],
            "tests": f"{row['test']}\ncheck({row['entry_point']})",
        },
    )


def _mbpp_split(number: int) -> str:
    """The paper's split: 1-10 few-shot prompts, 11-510 test, 511-600 validation, rest train."""
    bounds = ((10, "prompt"), (510, "test"), (600, "validation"))
    return next((name for last, name in bounds if number <= last), "train")


def _mbpp(row: Row, index: int, split: str) -> Task | None:
    if split not in ("all", _mbpp_split(int(row["task_id"]))):
        return None
    # One test is shown, because the text alone does not name the function; two stay hidden.
    shown = row["test_list"][0]
    return Task(
        question=f"{row['text']}\nYour code should pass this test: {shown}",
        id=f"mbpp/{row['task_id']}",
        answer=row["code"].replace("\r\n", "\n"),
        kind="code",
        meta={
            "entry_point": entry_point_of(shown),
            "setup": row["test_setup_code"],
            "tests": "\n".join([*row["test_list"], *row["challenge_test_list"]]),
            "public": (shown,),
        },
    )


def _official(repository: str, path: str, sha256: str) -> Official:
    return Official(f"{_RAW}/{repository}/{path}", sha256)


_GRADE_SCHOOL = "openai/grade-school-math/3101c7d5072418e28b9008a6636bde82a006892c"
GSM8K = FileSet(
    "gsm8k",
    {
        "test": File("gsm8k/test.jsonl.gz", _official(
            _GRADE_SCHOOL, "grade_school_math/data/test.jsonl",
            "3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14")),
        "train": File("gsm8k/train.jsonl.gz", _official(
            _GRADE_SCHOOL, "grade_school_math/data/train.jsonl",
            "17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465")),
    },
    _gsm8k,
    _MATH,
    source="Cobbe et al. 2021, arXiv:2110.14168",
    licence="MIT",
)  # fmt: skip

_ZERO_SHOT = "kojima-takeshi188/zero_shot_cot/5ef330fcdeec0cd26aee27943504f91f8ec1c33c"
MULTIARITH = FileSet(
    "multiarith",
    {"test": File("multiarith/all.jsonl.gz", _official(
        _ZERO_SHOT, "dataset/MultiArith/MultiArith.json",
        "dc9db1b6cc68b1ecc2dec830d15aaf8c9a0932aa31d5ffce88ef3628179d36f4"))},
    _equations("multiarith", "iIndex"),
    _MATH,
    source="Roy and Roth 2015, arXiv:1608.01413",
    licence="none stated",
)  # fmt: skip

ADDSUB = FileSet(
    "addsub",
    {"test": File("addsub/all.jsonl.gz", _official(
        _ZERO_SHOT, "dataset/AddSub/AddSub.json",
        "21930fa90385c72b5a15f4b9a4dda27276b889ae9ff44285505cdd9fa0a20df8"))},
    _equations("addsub", "iIndex"),
    _MATH,
    source="Hosseini et al. 2014, EMNLP D14-1058",
    licence="none stated",
)  # fmt: skip

SINGLEEQ = FileSet(
    "singleeq",
    {"test": File("singleeq/all.jsonl.gz", _official(
        _ZERO_SHOT, "dataset/SingleEq/questions.json",
        "051507bd2b489c257057b485774a83d2710c23a4bc0f4a58e1822ae2773ef05e"))},
    _equations("singleeq"),
    _MATH,
    source="Koncel-Kedziorski et al. 2015, TACL Q15-1042",
    licence="none stated",
)  # fmt: skip

SVAMP = FileSet(
    "svamp",
    {"test": File("svamp/test.jsonl.gz", _official(
        "arkilpatel/SVAMP/689d7ccac74b9983a2ac7cc3b264f441b99e7c53", "SVAMP.json",
        "5be77703a6d891ae476d7c082787ad361392aa02453b132516cdd5f4e7934e3e"))},
    _svamp,
    _MATH,
    source="Patel et al. 2021, arXiv:2103.07191",
    licence="MIT",
)  # fmt: skip

ASDIV = FileSet(
    "asdiv",
    {"test": File("asdiv/all.jsonl.gz")},
    _asdiv,
    ("numeric", "exact"),
    source="Miao et al. 2020, arXiv:2106.15772",
    licence="CC BY-NC 4.0",
)

_AQUA = "google-deepmind/AQuA/26b64ed1f22208c6742f47df547dfd65088ec30d"
AQUA = FileSet(
    "aqua",
    {
        "test": File("aqua/test.jsonl.gz", _official(
            _AQUA, "test.json",
            "de41581881ef95c5588c44ddc701c77fd480839241dd422a0d181262af24520c")),
        "dev": File("aqua/dev.jsonl.gz", _official(
            _AQUA, "dev.json",
            "4a52301d8a49ae0b286f8e697f9c5da1b109b247b825b47b4c6de34312dceec5")),
    },
    _aqua,
    ("choice",),
    source="Ling et al. 2017, arXiv:1705.04146",
    licence="Apache-2.0",
)  # fmt: skip

MMLU = FileSet(
    "mmlu",
    {split: File(f"mmlu/{split}.jsonl.gz") for split in ("test", "val", "dev")},
    _mmlu,
    ("choice",),
    source="Hendrycks et al. 2021, arXiv:2009.03300",
    licence="MIT",
)

HUMANEVAL = FileSet(
    "humaneval",
    {"test": File("humaneval/humaneval.jsonl.gz", _official(
        "openai/human-eval/6d43fb980f9fee3c892a914eda09951f772ad10d", "data/HumanEval.jsonl.gz",
        "b796127e635a67f93fb35c04f4cb03cf06f38c8072ee7cee8833d7bee06979ef"))},
    _humaneval,
    ("code",),
    source="Chen et al. 2021, arXiv:2107.03374",
    licence="MIT",
)  # fmt: skip

MBPP = FileSet(
    "mbpp",
    {s: File("mbpp/mbpp.jsonl.gz") for s in ("test", "validation", "train", "prompt", "all")},
    _mbpp,
    ("code",),
    source="Austin et al. 2021, arXiv:2108.07732",
    licence="CC BY 4.0",
)
