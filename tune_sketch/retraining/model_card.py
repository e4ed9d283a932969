"""Writes the model card of a run's winner, best/README.md, from what the run has recorded (Mitchell et al. 2019)."""

from collections.abc import Sequence
from pathlib import Path

from tune_sketch.data.names import written_lines, written_name
from tune_sketch.events import Trial
from tune_sketch.formatting import percent, short_text
from tune_sketch.retraining.finalists import Finalist, find_finalists
from tune_sketch.statistics import wilson_interval
from tune_sketch.storage.facts import Facts
from tune_sketch.storage.history import History
from tune_sketch.storage.probabilities import read_probabilities
from tune_sketch.storage.run_directory import RunDirectory

CARD = "README.md"
RESULTS = (
    ("test_top1", "first guess right"),
    ("test_top5", "right within five guesses"),
    ("test_balanced_accuracy", "balanced accuracy"),
    ("test_f1", "macro F1"),
)

LOADING = [
    "",
    "    python -m tune_sketch.predict RUN IMAGE...",
    "    python -m tune_sketch.export RUN --to onnx",
    "",
    "`--to onnx` writes one file for any program, `--to torchvision` and `--to timm` folders that load without",
    "tune_sketch, `--to site` a page that recognises drawings in the visitor's own browser.",
    "",
    "`weights.safetensors` holds the tensors, `model.json` everything else: classes in their order, preprocessing,",
    "temperature, configuration.",
]


def card_text(run: RunDirectory, facts: Facts, history: History, best: Trial) -> str:
    """The card in Markdown. best: the retraining whose network it is, with its test result."""
    models, facts = facts.models, facts.of(best.network)
    finalist = next(finalist for finalist in find_finalists(history) if finalist.number == best.number)
    chapters = {
        "Result": result_lines(best, finalist),
        "Data and split": data_lines(facts),
        "Training": training_lines(facts, history, best, models),
        "Probabilities": probability_lines(run, best),
        "Limits": limit_lines(facts, best),
        "How to load it": LOADING,
        "Classes": ["", *(f"    {written_name(name)}" for name in facts.data.class_names)],
    }
    title = f"# {facts.settings.model}, {facts.data.num_classes} classes of drawings"
    lines = [title, "", sentence_of(best.test.metrics["top1"], best.test.num_images) if best.test else ""]
    for name, own in chapters.items():
        lines += ["", f"## {name}", *own]
    return "\n".join(lines) + "\n"


def sentence_of(top1: float, num_drawings: int) -> str:
    """The result in a sentence, with the interval that is due to the drawings (Wilson)."""
    low, high = wilson_interval(top1, num_drawings)
    return (
        f"Of {num_drawings:,} drawings that it had never seen it recognised {percent(top1)} at its first guess "
        f"(95 % interval {100 * low:.1f} to {percent(high)})."
    )


def result_lines(best: Trial, finalist: Finalist) -> list[str]:
    """This network's metrics on the test split, and those of its configuration over the seeds."""
    assert best.test is not None
    number = len(finalist.retrainings)
    lines = [
        "",
        f"| test split | this network | mean over {number} seed{'s' * (number != 1)} | 95 % interval over seeds |",
    ]
    lines.append("|---|---|---|---|")
    for metric, title in RESULTS:
        value, interval = best.test.metrics.get(metric.removeprefix("test_")), finalist.interval(metric)
        # Student's t knows no limits
        between = "one seed" if interval is None else " to ".join(percent(min(1.0, max(0.0, b))) for b in interval)
        lines.append(f"| {title} | {percent(value)} | {percent(finalist.mean(metric))} | {between} |")
    how = f"On validation its first guess was right for {percent(best.epochs[-1].metrics.get('val_top1'))}."
    if best.is_last_step:
        how = "It was trained on training and validation drawings together, so it has no result on validation."
    lines += ["", how, "Its configuration was chosen on validation; the test split was read afterwards."]
    return lines


def data_lines(facts: Facts) -> list[str]:
    """The data that it was trained, chosen and tested on."""
    data = facts.data
    lines = ["", f"- data: {code(Path(facts.settings.data).name)}, fingerprint {code(data.fingerprint)}"]
    lines.append(
        f"- {data.num_images:,} drawings: {data.num_train:,} to train on, {data.num_validation:,} for validation,"
    )
    lines.append(f"  {data.num_test:,} for the test")
    if data.split_origin:
        lines.append(f"- split: {plain(data.split_origin)}")
    if data.largest_class and data.smallest_class:
        lines.append(
            f"- drawings in a class: {data.smallest_class.num_drawings:,} to {data.largest_class.num_drawings:,}"
        )
    if data.skipped:
        lines.append(f"- left out: {len(data.skipped):,} files that could not be read")
    return lines


def training_lines(facts: Facts, history: History, best: Trial, models: Sequence[str]) -> list[str]:
    """How the network came about. models: that were searched."""
    first = best if best.follows is None else history.retrainings[best.follows]
    values = best.config | {"epochs": len(first.epochs)}
    config = ", ".join(f"{name} {short_text(value)}" for name, value in sorted(values.items()) if value is not None)
    among = f" of {len(models)} networks ({', '.join(models)})" if len(models) > 1 else ""
    start = facts.weights.description
    if facts.weights.path is not None:  # no place of the machine that it was trained on
        start = start.replace(facts.weights.path, Path(facts.weights.path).name)
    how = "trained in the search, and not again," if first.is_of_search else "trained again"
    how += f" for {len(first.epochs)} epochs with seed {first.seed}"
    if best is not first:
        how += f", then for {len(best.epochs)} more with the validation drawings too"
    return [
        "",
        f"- start: {plain(start)}",
        f"- found among {len(history.trials):,} trials{among} (strategy {facts.settings.strategy}); it is trial",
        f"  {best.number}, {how}",
        f"- recipe: {plain(config)}",
    ]


def probability_lines(run: RunDirectory, best: Trial) -> list[str]:
    """How far stated probabilities may be believed."""
    assert best.test is not None
    stated = float(read_probabilities(run.test_probabilities(best.key)).max(axis=1).mean())
    fitted = "the mean of its seeds', each fitted on validation" if best.is_last_step else "fitted on validation"
    return [
        "",
        f"The logits are divided by a temperature of {best.test.temperature:.3f}, {fitted}",
        f"(Guo et al. 2017). On the test split the first guess had a probability of {percent(stated)} on average, and",
        f"was right for {percent(best.test.metrics['top1'])}.",
    ]


def limit_lines(facts: Facts, best: Trial) -> list[str]:
    """The limits of the result."""
    data = facts.data
    lines = ["", "- It answers with one of its classes, whatever it is shown: it has no answer for anything else."]
    lines.append("- The result is about drawings like those of its test split. Other people, pens and data differ.")
    if data.synthetic:
        lines.append("- A program drew its data: the result says nothing about people's drawings.")
    if data.leaky_split:
        lines.append("- Drawings of one photo or group are in several splits, so the result is too good.")
    if data.num_copies_across:
        lines.append(f"- {data.num_copies_across:,} drawings are in more than one split, so the result is too good.")
    if data.num_near_copies_across:
        lines.append(f"- {data.num_near_copies_across:,} drawings look like one of another split.")
    lines += [f"- {plain(warning)}" for warning in data.split_warnings]
    assert best.test is not None
    low, high = wilson_interval(best.test.top1, best.test.num_images)
    lines.append(
        f"- Chance of the {best.test.num_images:,} test drawings alone: {50 * (high - low):.1f} points either way."
    )
    return lines


def plain(text: str) -> str:
    """Text of users in a line of Markdown: nothing in it is a link, a tag or emphasis."""
    return "".join(
        f"\\{letter}" if letter in "\\`*_[]<>#|&" else letter for letter in written_lines(text.replace("\n", " "))
    )


def code(text: str) -> str:
    """Text of users as code in a line of Markdown."""
    written = written_name(text)
    fence = "`" * (1 + written.count("`"))  # longer than any run of them inside
    return f"{fence} {written} {fence}" if "`" in written else f"`{written}`"
