"""Archives: unpacked like a folder, and refused when they would write elsewhere or fill the disk."""

import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from tests.support.drawings import draw
from tune_sketch.data import DataRequest, open_data, prepare_data


def make_pictures() -> dict[str, bytes]:
    pictures = {}
    for position, name in enumerate(f"{label}/{number}.png" for label in ("cat", "dog") for number in range(4)):
        image = Image.new("L", (30, 30), 255)
        image.paste(0, (5 + position, 3, 10 + position, 20))
        file = io.BytesIO()
        image.save(file, "PNG")
        pictures[name] = file.getvalue()
    return pictures


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, f"w:{path.suffix[1:]}" if path.suffix != ".tar" else "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def prepare(path: Path):
    return open_data(prepare_data(DataRequest(str(path), 16), progress=False))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("TUNE_SKETCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def check_nothing_unpacked(tmp_path: Path) -> None:
    assert not [path for path in (tmp_path / "cache" / "unpacked").iterdir() if path.is_dir()]
    assert not list(tmp_path.rglob("*evil*"))


def test_archives_give_what_the_folder_gives(tmp_path):
    pictures = make_pictures()
    folder = tmp_path / "folder"
    for name, content in pictures.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    expected = prepare(folder)
    nested = {f"sketches/256x256/{name}": content for name, content in pictures.items()}
    nested |= {"__MACOSX/sketches/._0.png": b"x", "sketches/readme.txt": b"words"}
    paths = [
        write_zip(tmp_path / "flat.zip", pictures),
        write_zip(tmp_path / "nested.zip", nested),
        write_tar(tmp_path / "plain.tar", pictures),
        write_tar(tmp_path / "packed.tar.gz", nested),
        write_tar(tmp_path / "packed.tar.xz", pictures),
    ]
    for path in paths:
        data = prepare(path)
        assert data.names == expected.names, path
        assert data.fingerprint == expected.fingerprint
        assert (data.images == expected.images).all()


def test_an_archive_is_unpacked_once(tmp_path, cache):
    path = write_zip(tmp_path / "set.zip", make_pictures())
    prepare(path)
    (unpacked,) = [folder for folder in (cache / "unpacked").iterdir() if folder.is_dir()]
    made_at = unpacked.stat().st_mtime_ns
    prepare(path)
    assert unpacked.stat().st_mtime_ns == made_at
    assert not (unpacked / "set.zip").exists()


@pytest.mark.parametrize("name", ["../evil.png", "cat/../../evil.png", "/tmp/evil.png", "..\\evil.png", "C:/evil.png"])
@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_members_that_lead_outside_are_refused(tmp_path, name, write):
    path = write(tmp_path / ("set.zip" if write is write_zip else "set.tar"), make_pictures() | {name: b"x"})
    with pytest.raises(ValueError, match=r"set\.\w+ is refused: its member .*evil\.png' would be written outside"):
        prepare(path)
    check_nothing_unpacked(tmp_path)


def test_links_and_devices_are_refused(tmp_path):
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        path = write_tar(tmp_path / f"set{kind!r}.tar".replace("'", ""), make_pictures())
        with tarfile.open(path, "a") as archive:
            info = tarfile.TarInfo("cat/evil.png")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        with pytest.raises(ValueError, match="is a link or a device"):
            prepare(path)
    path = write_zip(tmp_path / "set.zip", make_pictures())
    with zipfile.ZipFile(path, "a") as zipped:
        link = zipfile.ZipInfo("cat/evil.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        zipped.writestr(link, "/etc/passwd")
    with pytest.raises(ValueError, match="is a link"):
        prepare(path)
    check_nothing_unpacked(tmp_path)


def test_an_archive_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("tune_sketch.data.archives.PLAIN_BYTES", 2**20)
    path = write_zip(tmp_path / "set.zip", make_pictures() | {"cat/evil.png": bytes(50_000_000)})
    with pytest.raises(ValueError, match=r"bytes unpacked are more than .*200 times its own size"):
        prepare(path)
    check_nothing_unpacked(tmp_path)


def test_line_drawings_in_bmp_are_no_bomb(tmp_path):
    files = {}
    for number in range(24):
        content = io.BytesIO()
        draw(number, size=(800, 800)).convert("RGB").save(content, "BMP")
        files[f"{('cat', 'dog')[number % 2]}/{number}.bmp"] = content.getvalue()
    path = write_zip(tmp_path / "set.zip", files)
    assert sum(map(len, files.values())) > 250 * path.stat().st_size
    assert len(prepare(path).names) == 24


def test_damaged_archives_are_refused(tmp_path):
    for path in (write_zip(tmp_path / "set.zip", make_pictures()), write_tar(tmp_path / "set.tar.gz", make_pictures())):
        path.write_bytes(path.read_bytes()[:-200])
        with pytest.raises(ValueError, match="is damaged"):
            prepare(path)
    (tmp_path / "words.zip").write_text("words")
    with pytest.raises(ValueError, match="is damaged"):
        prepare(tmp_path / "words.zip")
    check_nothing_unpacked(tmp_path)
