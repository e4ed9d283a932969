"""Decodes a data set once into the cache, or finds it there; reports all its problems at once."""

import hashlib
import json
import os
import shutil
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tune_sketch.data.copies import find_copies, join_groups
from tune_sketch.data.formats.base import DecodeSettings, Drawing
from tune_sketch.data.formats.registry import CHANGED, read_bytes
from tune_sketch.data.locks import hold_lock
from tune_sketch.data.names import written_lines
from tune_sketch.data.near_copies import find_near_copies
from tune_sketch.data.pictures import left_out_text
from tune_sketch.data.progress import Progress
from tune_sketch.data.request import DataError, DataRequest, Problem, default_cache_dir, make_cache_dir
from tune_sketch.data.sketch_data import FORMAT_VERSION, is_whole, open_data, photo_of
from tune_sketch.data.sources.base import Source
from tune_sketch.data.sources.naming import name_drawings
from tune_sketch.data.sources.registry import find_source, list_drawings
from tune_sketch.data.splits import SPLIT_NAMES
from tune_sketch.data.staging import describe_files
from tune_sketch.data.workers import decode_all

MIN_PER_CLASS = 3  # one for each of train, validation and test
ONE_CLASS = (
    "one class only, nothing to tell apart; the classes of pictures in one folder are given by a table (--splits FILE "
    "with the columns image and class) or by --class-from REGEX"
)
_VISIBLE_SHADES = 16  # of paper, in grey values: a smaller standard deviation says nothing


@dataclass(frozen=True)
class _Listing:
    """The drawings of a request before they are decoded. A digest is None where a drawing cannot be read."""

    drawings: list[Drawing]
    digests: list[bytes | None]  # SHA-256 of each drawing's content
    problems: list[Problem]
    fingerprint: str  # SHA-256 over content and settings


def prepare_data(request: DataRequest, *, cache_dir: Path | None = None, progress: bool = True) -> Path:
    """Decode the drawings of a request, unless the cache has them; returns the folder for `open_data`.

    cache_dir: None is `default_cache_dir()`. progress: bars on stderr.
    The cache is keyed by content and settings. A folder is built under a temporary name and renamed; if several
    processes want the same data, one builds it and the others wait.
    Raises DataError, a ValueError that lists all problems; ValueError for an impossible request.
    """
    cache = Path(cache_dir or default_cache_dir()).expanduser().resolve()
    decoded = cache / "decoded"
    if not decoded.is_dir():  # of one that cannot be written, what is in it is still used
        make_cache_dir(decoded)
    source = find_source(request, cache, progress)
    for note in source_notes(source) if progress else []:
        print(written_lines(f"{request.data}: {note}"), file=sys.stderr)
    # File names, sizes and times represent the content here, so that a second call need not read the files.
    quick_key = _quick_key(source, request)
    remembered = cache / "seen" / f"{quick_key}.txt"
    if remembered.exists():
        folder = decoded / remembered.read_text(errors="replace").strip()
        if is_whole(folder):
            return _check_skipped(folder, request)
    _check_svg(source)
    listing = _list_and_hash(source, request, progress)
    folder = decoded / listing.fingerprint[:32]
    make_cache_dir(decoded)
    with hold_lock(decoded / f"{folder.name}.lock"):
        if not is_whole(folder):
            shutil.rmtree(folder, ignore_errors=True)
            for left_behind in decoded.glob(f".{folder.name}.*.building"):  # by a process that was killed
                shutil.rmtree(left_behind, ignore_errors=True)
            building = decoded / f".{folder.name}.{os.getpid()}.building"
            building.mkdir()
            try:
                _build(building, source, request, listing, progress)
                building.rename(folder)
            finally:
                shutil.rmtree(building, ignore_errors=True)
    remembered.parent.mkdir(exist_ok=True)
    _write_atomic(remembered, folder.name)
    return _check_skipped(folder, request)


def source_notes(source: Source) -> list[str]:
    """Sentences about what of the data is not used, and how the rest was understood."""
    return [*([left_out_text(source.left_out)] if source.left_out else []), *source.notes]


def _quick_key(source: Source, request: DataRequest) -> str:
    digest = hashlib.sha256(json.dumps([FORMAT_VERSION, request.to_json()]).encode())
    for class_name, files in source.files.items():
        digest.update(b"\n" + os.fsencode(class_name))
        if source.root is None:
            continue
        for file in files:
            try:
                stat = os.stat(source.root / file)
            except OSError:  # a dangling link: decoding will report it
                digest.update(b"\nunreadable")
                continue
            digest.update(b"\n%b\t%d\t%d" % (os.fsencode(file), stat.st_size, stat.st_mtime_ns))
    digest.update(os.fsencode(str(source.root)))
    for table in source.tables:
        digest.update(table.read_bytes())
    if source.format == "doodles":
        digest.update(read_bytes(Drawing("", "", "doodles", "", 0)))  # changes with the generator
    return digest.hexdigest()[:32]


def _check_skipped(folder: Path, request: DataRequest) -> Path:
    skipped = open_data(folder).skipped
    if skipped and not request.skip_bad_images:
        raise DataError(request.data, [Problem(entry["name"], entry["reason"]) for entry in skipped])
    return folder


def _check_svg(source: Source) -> None:
    num_svg = sum(file.lower().endswith(".svg") for files in source.files.values() for file in files)
    if not num_svg:
        return
    try:
        import cairosvg  # noqa: F401  # the extra `svg`
    except (ImportError, OSError) as error:  # OSError: the package is there, the cairo library is not
        raise ValueError(
            f"{num_svg:,} drawings are .svg files, which need the extra `svg` and the cairo library: "
            f"pip install 'tune_sketch[svg]' ({error})"
        ) from error


def _list_and_hash(source: Source, request: DataRequest, progress: bool) -> _Listing:
    drawings, problems = list_drawings(source, request)
    drawings = name_drawings(drawings, problems)
    digests = _hash_contents(drawings, progress)
    settings = [FORMAT_VERSION, request.image_px, request.invert, request.pen_width_px]
    settings += [request.seed] if request.data == "doodles" else []
    whole = hashlib.sha256(json.dumps([settings, [problem.to_json() for problem in problems]]).encode())
    for drawing, digest in zip(drawings, digests, strict=True):
        facts = [drawing.class_name, drawing.name]
        facts += [drawing.split, drawing.group] if drawing.split or drawing.group else []
        whole.update(json.dumps(facts).encode() + (digest or b"unreadable"))
    if source.split_origin or source.group_origin:
        whole.update(json.dumps([source.split_origin, source.group_origin]).encode())
    return _Listing(drawings, digests, problems, whole.hexdigest())


def _hash_contents(drawings: Sequence[Drawing], progress: bool) -> list[bytes | None]:
    def hash_one(drawing: Drawing) -> bytes | None:
        try:
            return hashlib.sha256(read_bytes(drawing)).digest()
        except OSError:
            return None  # decoding will report it

    bar = Progress("reading", len(drawings), progress)
    digests = []
    with ThreadPoolExecutor(4) as pool:
        for done, digest in enumerate(pool.map(hash_one, drawings), start=1):
            digests.append(digest)
            bar.show(done)
    bar.close()
    return digests


def _build(building: Path, source: Source, request: DataRequest, listing: _Listing, progress: bool) -> None:
    """Decode into an empty folder. Raises DataError, and ValueError when the disk is too full."""
    started_seconds = time.monotonic()
    drawings, digests = listing.drawings, listing.digests
    num_bytes, free_bytes = len(drawings) * request.image_px**2, shutil.disk_usage(building).free
    if num_bytes > free_bytes:
        raise ValueError(
            f"the decoded drawings need {num_bytes:,} bytes in {building.parent}, where {free_bytes:,} are free"
        )
    settings = DecodeSettings(request.image_px, request.invert, request.pen_width_px, request.seed)
    bar = Progress(f"decoding {request.data} at {request.image_px} px", len(drawings), progress)
    decoded = decode_all(drawings, settings, building, bar.show, digests=digests)
    bad = decoded.bad
    bar.close()
    appeared = {index for index, digest in enumerate(digests) if digest is None and index not in bad}
    changed = [index for index in range(len(drawings)) if index in appeared or CHANGED in bad.get(index, "")]
    if changed:  # they cannot be left out either: the fingerprint says what they were before
        reasons = ((drawings[index].name, bad.get(index, CHANGED)) for index in changed)
        raise DataError(request.data, [Problem(name, reason, fatal=True) for name, reason in reasons])

    doubles = {index: reason for index, reason in _find_doubles(drawings, digests).items() if index not in bad}
    unusable = bad | doubles
    problems = listing.problems + [Problem(drawings[index].name, reason) for index, reason in unusable.items()]
    counts = Counter(drawing.class_name for index, drawing in enumerate(drawings) if index not in unusable)
    is_divided = any(drawing.split for drawing in drawings)
    min_per_class = 1 if is_divided else MIN_PER_CLASS
    class_names = sorted(name for name in counts if counts[name] >= min_per_class)
    problems += _check_classes(source, counts, problems, min_per_class)
    if len(source.files) >= 2 and request.skip_bad_images and len(class_names) < 2:
        problems.append(Problem("", "fewer than two classes are left without the bad drawings", fatal=True))
    if problems and (not request.skip_bad_images or any(problem.fatal for problem in problems)):
        raise DataError(request.data, problems)

    label_of = {name: label for label, name in enumerate(class_names)}
    kept = [i for i, drawing in enumerate(drawings) if i not in unusable and drawing.class_name in label_of]
    if len(kept) < len(drawings):
        _compact(building / "images.npy", kept)
    groups = [drawings[index].group for index in kept]
    has_groups = any(groups)
    photos = [photo_of(drawings[i].name) if source.format == "images" and not has_groups else None for i in kept]
    copies = find_copies([digests[index] for index in kept])
    np.save(building / "labels.npy", np.array([label_of[drawings[i].class_name] for i in kept], np.int64))
    np.save(building / "groups.npy", join_groups([group or None for group in groups] if has_groups else photos, copies))
    meta = {
        "class_names": class_names,
        "names": [drawings[index].name for index in kept],
        "fingerprint": listing.fingerprint,
        "synthetic": source.synthetic,
        "has_photos": any(photos),
        "skipped": [problem.to_json() for problem in problems],
        "original_px": decoded.original_px,
        "request": request.to_json(),
        "kind": source.format,
        "num_light_on_dark": sum(decoded.papers[index] < 128 for index in kept if index in decoded.papers),
        "paper_by_class": paper_by_class([(drawings[i].class_name, decoded.papers.get(i)) for i in kept]),
        "copies": copies,
        "num_first_of_many": decoded.num_first_of_many,
        "near_copies": None if decoded.hashes is None else find_near_copies(decoded.hashes[kept], copies),
        "given_split": [SPLIT_NAMES.index(drawings[index].split) for index in kept] if is_divided else None,
        "split_origin": source.split_origin or ("parts of the class files" if is_divided else ""),
        "group_names": groups if has_groups else None,
        "group_origin": source.group_origin if has_groups else "",
        "format_version": FORMAT_VERSION,
        "files": describe_files(building),
        "decoding_seconds": round(time.monotonic() - started_seconds, 3),
    }
    _write_atomic(building / "meta.json", json.dumps(meta, indent=1))
    if problems and progress:
        print(f"left out {len(problems):,} bad drawings or classes, as --skip-bad-images says", file=sys.stderr)


def _check_classes(source: Source, counts: Counter[str], problems: Sequence[Problem], least: int) -> list[Problem]:
    """Problems of classes that have too few usable drawings, if nothing was said about them and their files yet."""
    named = {problem.name for problem in problems}
    found = []
    for class_name, files in source.files.items():
        if counts[class_name] < least and not named & {class_name, *files}:
            reason = f"{counts[class_name]} usable drawings, but train, validation and test need one each"
            found.append(Problem(class_name, reason))
    if len(source.files) < 2:
        found.append(Problem(", ".join(source.files), ONE_CLASS, fatal=True))
    return found


def paper_by_class(papers: Sequence[tuple[str, int | None]]) -> dict[str, float] | None:
    """{class: mean grey value of its paper} where the paper alone could tell classes apart, else None.

    That is where classes explain most of the variance of the paper (eta squared over 1/2) and it varies visibly.
    """
    known = [(name, paper) for name, paper in papers if paper is not None]
    shades = np.array([paper for _, paper in known], float)
    if len(known) < 2 or shades.std() < _VISIBLE_SHADES:
        return None
    by_class: dict[str, list[int]] = defaultdict(list)
    for name, paper in known:
        by_class[name].append(paper)
    within = sum(float(np.var(values)) * len(values) for values in by_class.values())
    if within > 0.5 * float(shades.var()) * len(shades):
        return None
    return {name: round(float(np.mean(values)), 1) for name, values in sorted(by_class.items())}


def _find_doubles(drawings: Sequence[Drawing], digests: Sequence[bytes | None]) -> dict[int, str]:
    """Index -> reason of every drawing whose content lies in another class too: its label cannot be known."""
    same: dict[bytes, list[int]] = defaultdict(list)
    for index, digest in enumerate(digests):
        if digest is not None:
            same[digest].append(index)
    doubles = {}
    for indices in same.values():
        if len({drawings[index].class_name for index in indices}) > 1:
            for index in indices:
                other = next(i for i in indices if drawings[i].class_name != drawings[index].class_name)
                doubles[index] = f"same content as {drawings[other].name} of another class"
    return dict(sorted(doubles.items()))


def _compact(path: Path, kept: Sequence[int]) -> None:
    """Keep only some rows of an array on disk."""
    images = np.load(path, mmap_mode="r")
    smaller = path.with_suffix(".kept.npy")
    rows = np.lib.format.open_memmap(smaller, "w+", np.uint8, (len(kept), *images.shape[1:]))
    for row, index in enumerate(kept):
        rows[row] = images[index]
    rows.flush()
    smaller.replace(path)


def _write_atomic(path: Path, text: str) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
