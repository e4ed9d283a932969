"""Every place where a file or a text of somebody else is read: how good ones are made, and what may be raised."""

import importlib.util
import io
import json
import os
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np

from tests.support.drawings import draw, make_stroke_line
from tests.support.quickdraw_files import polylines, write_bin, write_csv, write_npz
from tune_sketch.data.archives import unpack_archive
from tune_sketch.data.formats.base import DecodeSettings, Drawing
from tune_sketch.data.formats.registry import DRAWING_FORMATS, decode_drawing
from tune_sketch.data.pixels import BadDrawingError
from tune_sketch.data.sources.lists import read_list
from tune_sketch.data.sources.tables import read_table
from tune_sketch.retraining.ensemble import read_winner
from tune_sketch.storage.facts import read_facts
from tune_sketch.storage.history import JournalError
from tune_sketch.storage.lock import lock, read_owner
from tune_sketch.storage.reading import read_history
from tune_sketch.storage.run_directory import RunDirectory

SETTINGS = DecodeSettings(24, True, None, 0)
Make = Callable[[Path], list[Path]]
RETRAINED = "retrained/retraining-0001-02.pt"  # of the network in best/


@dataclass(frozen=True)
class Boundary:
    """One reader. make: good files in a folder. read: lets it read a content, in an empty folder."""

    name: str
    make: Make
    read: Callable[[bytes, Path], None]
    refusals: tuple[type[Exception], ...] = (ValueError,)
    module: str = ""  # that must be installed
    may_refuse_good: bool = False  # where nothing is behind a good one

    def missing(self) -> str:
        """Why it cannot be tried here, or nothing."""
        is_there = not self.module or importlib.util.find_spec(self.module) is not None
        return "" if is_there else f"{self.module} is not installed"


def read_picture_file(name: str, content: bytes, folder: Path) -> None:
    path = folder / name
    path.write_bytes(content)
    decode_drawing(Drawing(name, "cat", "images", str(path), 0), SETTINGS)


def make_pictures(suffix: str, options: dict[str, object], folder: Path) -> list[Path]:
    """Pictures in one format, grey and coloured."""
    paths = []
    for number, mode in enumerate(("L", "RGB")):
        path = folder / f"good{number}{suffix}"
        draw(50 + number, size=(60, 44)).convert(mode).save(path, **options)
        paths.append(path)
    return paths


def make_heic(folder: Path) -> list[Path]:
    import pillow_heif

    pillow_heif.register_heif_opener()
    return make_pictures(".heic", {}, folder)


def make_svg(folder: Path) -> list[Path]:
    path = folder / "good.svg"
    path.write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="100" height="80">'
        '<defs><g id="a"><path d="M10 10 L90 70" stroke="black" stroke-width="4"/></g></defs><use xlink:href="#a"/>'
        '<circle cx="40" cy="40" r="20" fill="none" stroke="#333" transform="scale(1.1) rotate(5)"/></svg>'
    )
    return [path]


def read_class_file(name: str, format_name: str, content: bytes, folder: Path) -> None:
    """All drawings of a class file. Listing may refuse the file, decoding one drawing."""
    path = folder / name
    path.write_bytes(content)
    found = DRAWING_FORMATS[format_name]
    bad = None
    if found.is_class_file(path):
        found.word_of(path)
    for drawing in found.list(name, str(path), "cat", 30):
        try:
            decode_drawing(drawing, SETTINGS)
        except BadDrawingError as error:
            bad = error
    if bad is not None:
        raise bad


def make_class_files(suffix: str, folder: Path) -> list[Path]:
    path = folder / f"good{suffix}"
    if suffix == ".ndjson":
        path.write_text("".join(make_stroke_line("cat", number) + "\n" for number in range(6)))
    elif suffix == ".npy":
        pictures = [255 - np.asarray(draw(number, size=(28, 28))) for number in range(6)]
        np.save(path, np.stack(pictures).reshape(6, 784))
    else:
        writers = {".csv": write_csv, ".bin": write_bin, ".npz": write_npz}
        writers[suffix](path, "cat", [polylines(number) for number in range(6)])
    return [path]


def make_npz_of_numbers(folder: Path) -> list[Path]:
    path = folder / "numbers.npz"
    np.savez_compressed(path, train=np.ones((4, 5, 3), np.int16))
    return [*make_class_files(".npz", folder), path]


def png_bytes(number: int) -> bytes:
    buffer = io.BytesIO()
    draw(number).save(buffer, "PNG")
    return buffer.getvalue()


def make_archives(suffix: str, folder: Path) -> list[Path]:
    paths = []
    for number in range(2):
        path = folder / f"good{number}{suffix}"
        members = {f"{name}/{k}.png": png_bytes(k) for name in ("cat", "dog") for k in range(2 + number)}
        if suffix == ".zip":
            how = (zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA)[number]
            with zipfile.ZipFile(path, "w", how) as archive:
                for name, content in members.items():
                    archive.writestr(name, content)
        else:
            with tarfile.open(path, f"w:{suffix.removeprefix('.tar').removeprefix('.')}") as archive:
                for name, content in members.items():
                    info = tarfile.TarInfo(name)
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))
        paths.append(path)
    return paths


def read_archive(suffix: str, content: bytes, folder: Path) -> None:
    path = folder / f"input{suffix}"
    path.write_bytes(content)
    unpack_archive(path, folder / "unpacked", False)


def make_tables(folder: Path) -> list[Path]:
    rows = [f"cat/{k}.png,cat,{('train', 'val', 'test')[k % 3]},p{k}" for k in range(6)]
    (folder / "good.csv").write_text("image,class,split,photo\n" + "\n".join(rows) + "\n")
    (folder / "good.tsv").write_bytes("image\tclass\nä.png\tcat\nb.png\tdog\n".encode("utf-16"))
    return [folder / "good.csv", folder / "good.tsv"]


def read_labels(content: bytes, folder: Path) -> None:
    path = folder / "labels.csv"
    path.write_bytes(content)
    read_table(path)


def make_lists(folder: Path) -> list[Path]:
    (folder / "train.txt").write_text("cat/1.png 0\ncat/2.png 0\ndog/1.png 1\n")
    return [folder / "train.txt"]


def read_name_list(content: bytes, folder: Path) -> None:
    path = folder / "train.txt"
    path.write_bytes(content)
    read_list(path)


@cache
def finished_run() -> RunDirectory:
    """The run directory of a finished search, made once in a temporary folder."""
    import atexit
    import shutil
    import tempfile

    from tests.support.fake_runs import make_finished_run

    folder = tempfile.mkdtemp(prefix="attack-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return make_finished_run(Path(folder) / "run", num_trials=3, failed=1)


def make_run_file(name: str, folder: Path) -> list[Path]:
    return [finished_run().path / name]


def with_file(name: str, content: bytes, folder: Path) -> RunDirectory:
    """A finished run, of which one file has this content."""
    run = finished_run()
    for path in run.path.iterdir():
        if path.name != name.split("/")[0]:
            os.symlink(path, folder / path.name)
    if "/" in name:
        (folder / name).parent.mkdir()
        for path in (run.path / name).parent.iterdir():
            if path.name != Path(name).name:
                os.symlink(path, folder / Path(name).parent / path.name)
    (folder / name).write_bytes(content)
    return RunDirectory(folder)


def read_search_json(content: bytes, folder: Path) -> None:
    read_facts(with_file("search.json", content, folder))


def read_journal(content: bytes, folder: Path) -> None:
    read_history(with_file("journal.log", content, folder))


def read_splits_file(content: bytes, folder: Path) -> None:
    from tune_sketch.data import open_data
    from tune_sketch.data.splits import read_splits

    run = with_file("splits.csv", content, folder)
    read_splits(run.splits_csv, open_data(read_facts(run).data.cache))


def read_best(name: str, content: bytes, folder: Path) -> None:
    from tune_sketch.inference.model import load_classifier

    load_classifier(with_file(name, content, folder).path)


def read_weights_of_run(content: bytes, folder: Path) -> None:
    from tune_sketch.trainables.networks.find_weights import resolve_weights

    resolve_weights("baseline", str(with_file("best/model.json", content, folder).path))


def read_report(name: str, content: bytes, folder: Path) -> None:
    """Read as tables and figures of the report do from files beside the journal."""
    from tune_sketch.analysis.run_data import read_run

    run = read_run(with_file(name, content, folder).path)
    assert len(run.test_indices) == len(run.test_labels) == len(run.predicted_labels)
    if run.best_key is not None:
        run.read_test_probabilities(run.best_key)


def read_winner_table(content: bytes, folder: Path) -> None:
    from tune_sketch.analysis.run_data import read_run
    from tune_sketch.analysis.tables.winner import WINNER
    from tune_sketch.retraining.ensemble import winner_lines

    run = with_file("winner.csv", content, folder)
    found = read_run(run.path)
    winner_lines(run, found.history)
    WINNER.show([row | {"milliseconds_per_drawing": None} for row in read_winner(run)])


def read_retrained(name: str, content: bytes, folder: Path) -> None:
    from tune_sketch.inference.ensemble import load_ensemble

    load_ensemble(with_file(name, content, folder).path)


def make_owner(folder: Path) -> list[Path]:
    path = folder / "owner.json"
    path.write_text(json.dumps({"host": "here", "process": 12, "since": 1.5}))
    return [path]


def read_owner_json(content: bytes, folder: Path) -> None:
    run = RunDirectory(folder)
    with lock(run):
        run.owner_json.write_bytes(content)
        assert read_owner(run) is not None, "somebody holds it, whatever the file says"


@cache
def decoded_folder() -> Path:
    return Path(read_facts(finished_run()).data.cache)


def make_cache_file(name: str, folder: Path) -> list[Path]:
    return [decoded_folder() / name]


def read_cache(name: str, content: bytes, folder: Path) -> None:
    from tune_sketch.data import open_data

    for path in decoded_folder().iterdir():
        if path.name != name:
            os.symlink(path, folder / path.name)
    (folder / name).write_bytes(content)
    open_data(folder)


def read_cache_of_resume(content: bytes, folder: Path) -> None:
    from tune_sketch.storage.same_content import is_unharmed

    for path in decoded_folder().iterdir():
        if path.name != "meta.json":
            os.symlink(path, folder / path.name)
    (folder / "meta.json").write_bytes(content)
    if not is_unharmed(folder):
        raise ValueError("decoded again")


def make_weights(folder: Path) -> list[Path]:
    import torch

    from tune_sketch.trainables.networks.build import build_model

    state = build_model("baseline", 2).state_dict()
    torch.save(state, folder / "zip.pt")
    torch.save(state, folder / "old.pt", _use_new_zipfile_serialization=False)
    return [folder / "zip.pt", folder / "old.pt"]


def make_safetensors(folder: Path) -> list[Path]:
    from safetensors.torch import save_file

    from tune_sketch.trainables.networks.build import build_model

    save_file(build_model("baseline", 2).state_dict(), folder / "good.safetensors")
    return [folder / "good.safetensors"]


def read_weights_file(name: str, content: bytes, folder: Path) -> None:
    from tune_sketch.trainables.networks.find_weights import resolve_weights

    path = folder / name
    path.write_bytes(content)
    resolve_weights("baseline", str(path))


def make_checkpoint(which: str, folder: Path) -> list[Path]:
    from tune_sketch.trainables.checkpoints import manifest_file, write_checkpoint

    file = write_checkpoint(folder / "good", 3, {"key": "trial-0000", "config": {}, "state": {"x": 1.0}})
    return [file if which == "pt" else manifest_file(file)]


def read_checkpoint_file(which: str, content: bytes, folder: Path) -> None:
    from tests.support.damage import vouch_for
    from tune_sketch.trainables.checkpoints import manifest_file, read_checkpoint

    file = make_checkpoint("pt", folder)[0]
    if which == "pt":
        file.write_bytes(content)
        vouch_for(file)
    else:
        manifest_file(file).write_bytes(content)
    read_checkpoint(file)


def make_url(folder: Path) -> list[Path]:
    path = folder / "url"
    path.write_text("postgresql:///name?host=/nowhere&port=1&user=me&password=secret&connect_timeout=1")
    return [path]


def read_url(content: bytes, folder: Path) -> None:
    from tune_sketch.storage.database import check_server, close_storage, hide_password, open_database

    url = content.decode("utf-8", "surrogateescape")
    hide_password(url)
    hide_password(f"--storage={url}")
    check_server(url)
    close_storage(open_database(url))


@cache
def page_client() -> object:
    from tune_sketch.inference.drawing_page import make_app
    from tune_sketch.inference.model import load_classifier

    return make_app(load_classifier(finished_run().path)).test_client()


def make_post(folder: Path) -> list[Path]:
    page_client()  # beforehand: it takes seconds
    path = folder / "post.json"
    path.write_text(json.dumps({"strokes": [[[0.2, 0.8], [0.2, 0.4], [0.5, 0.1]], [[0.45, 0.8], [0.45, 0.6]]]}))
    return [path]


def read_post(content: bytes, folder: Path) -> None:
    answer = page_client().post(  # type: ignore[attr-defined]
        "/recognise", data=content, content_type="application/json", base_url="http://127.0.0.1:8765"
    )
    if answer.status_code in (400, 413):
        raise ValueError("refused")
    assert answer.status_code == 200, answer.status_code


def pictures(suffix: str, module: str = "", **options: object) -> Boundary:
    make = {".heic": make_heic, ".svg": make_svg}.get(suffix, partial(make_pictures, suffix, options))
    return Boundary(f"picture {suffix}", make, partial(read_picture_file, f"input{suffix}"), (BadDrawingError,), module)


def class_files(suffix: str, format_name: str) -> Boundary:
    make = make_npz_of_numbers if suffix == ".npz" else partial(make_class_files, suffix)
    read = partial(read_class_file, f"cat{suffix}", format_name)
    return Boundary(f"drawings {suffix}", make, read, (ValueError, OSError))


BOUNDARIES = [
    *(pictures(suffix) for suffix in (".png", ".jpg", ".webp", ".bmp", ".gif", ".ppm")),
    pictures(".tif", compression="tiff_lzw"),
    pictures(".avif"),
    pictures(".heic", "pillow_heif"),
    pictures(".svg", "cairosvg"),
    class_files(".ndjson", "strokes"),
    class_files(".npy", "bitmaps"),
    class_files(".npz", "sketch-rnn"),
    class_files(".csv", "kaggle"),
    class_files(".bin", "binary"),
    *(
        Boundary(f"archive {suffix}", partial(make_archives, suffix), partial(read_archive, suffix))
        for suffix in (".zip", ".tar", ".tar.gz", ".tar.bz2", ".tar.xz")
    ),
    Boundary("table of drawings (.csv)", make_tables, read_labels),
    Boundary("list of drawings (.txt)", make_lists, read_name_list),
    Boundary("decoded drawings: meta.json", partial(make_cache_file, "meta.json"), partial(read_cache, "meta.json")),
    Boundary("decoded drawings: labels.npy", partial(make_cache_file, "labels.npy"), partial(read_cache, "labels.npy")),
    Boundary("decoded drawings, at a resume", partial(make_cache_file, "meta.json"), read_cache_of_resume),
    Boundary("weights (.pt)", make_weights, partial(read_weights_file, "weights.pt")),
    Boundary("weights (.safetensors)", make_safetensors, partial(read_weights_file, "weights.safetensors")),
    Boundary("weights of a run: model.json", partial(make_run_file, "best/model.json"), read_weights_of_run),
    Boundary("checkpoint (.pt)", partial(make_checkpoint, "pt"), partial(read_checkpoint_file, "pt")),
    Boundary("checkpoint's manifest", partial(make_checkpoint, "json"), partial(read_checkpoint_file, "json")),
    Boundary("search.json", partial(make_run_file, "search.json"), read_search_json),
    Boundary("splits.csv", partial(make_run_file, "splits.csv"), read_splits_file),
    Boundary("journal.log", partial(make_run_file, "journal.log"), read_journal, (ValueError, JournalError)),
    Boundary("owner.json", make_owner, read_owner_json),
    Boundary("best/model.json", partial(make_run_file, "best/model.json"), partial(read_best, "best/model.json")),
    Boundary(
        "best/weights.safetensors",
        partial(make_run_file, "best/weights.safetensors"),
        partial(read_best, "best/weights.safetensors"),
    ),
    Boundary("retrained/*.pt", partial(make_run_file, RETRAINED), partial(read_retrained, RETRAINED)),
    *(
        Boundary(f"report: {shown}", partial(make_run_file, name), partial(read_report, name))
        for shown, name in (
            ("best/model.json", "best/model.json"),
            ("predictions.csv", "predictions.csv"),
            ("retrained/*-test.npz", RETRAINED.replace(".pt", "-test.npz")),
        )
    ),
    Boundary("report: winner.csv", partial(make_run_file, "winner.csv"), read_winner_table),
    Boundary("--storage URL", make_url, read_url, (ValueError, JournalError), may_refuse_good=True),
    Boundary("drawing page: a request", make_post, read_post),
]
