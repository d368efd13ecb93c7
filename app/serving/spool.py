"""The spool: what the database could not take in time waits in local files until it can.

Files are append-only and belong to one process each, which holds a lock on its file for as long as it lives; the
files of a dead process are free to be replayed by any other. A record is

    length (4 bytes, little-endian) | CRC-32 of the payload (4 bytes) | payload

and is acknowledged only after fsync. A crash can leave a torn record at the end of a file, and nowhere else; it was
never acknowledged, so reading stops there.
"""

import fcntl
import os
import struct
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from app.errors import Unavailable
from app.ids import new_id

__all__ = ["Spool", "SpoolFull", "read_records"]

_MAGIC = b"CROUPIER SPOOL 1\n"
_HEADER = struct.Struct("<II")
_SUFFIX = ".spool"


class SpoolFull(Unavailable):
    """The database is away and the spool cannot take more."""


class Spool:
    """This process's end of a folder of spool files.

    Args:
        folder: shared by all workers of a machine; made when it is missing.
        limit_bytes: of all files in the folder together.
    """

    def __init__(self, folder: Path, *, limit_bytes: int) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._using = threading.Lock()
        self._descriptor: int | None = None
        self._end = 0  # of the last acknowledged record

    def append(self, payloads: Sequence[bytes]) -> Sequence[None]:
        """Keeps records; they are on disk when this returns, all of them or, when it raises, none.

        Raises:
            SpoolFull: the limit is reached, or the disk is full.
        """
        block = b"".join(_HEADER.pack(len(payload), zlib.crc32(payload)) + payload for payload in payloads)
        if self.size_bytes() + len(block) > self._limit_bytes:
            raise SpoolFull(f"The spool has reached its limit of {self._limit_bytes} bytes", retry_after_s=5)
        with self._using:
            try:
                descriptor = self._open()
                _write_all(descriptor, block)
                os.fsync(descriptor)
            except OSError as error:
                self._take_back()
                raise SpoolFull(f"The spool cannot be written: {error.strerror}", retry_after_s=5) from error
            self._end += len(block)
        return [None] * len(payloads)

    def size_bytes(self) -> int:
        """Size of all files in the folder."""
        total = 0
        for path in self._folder.glob(f"*{_SUFFIX}"):
            with suppress(FileNotFoundError):  # another process has just replayed it
                total += path.stat().st_size
        return total

    @contextmanager
    def claim(self) -> Iterator[list[Path]]:
        """Files to replay, oldest first: this process's own, and those of dead processes; nobody else takes them.

        The own file is closed: what is appended from now on goes to a new one.
        """
        self.close()
        locked: list[tuple[Path, int]] = []
        try:
            for path in sorted(self._folder.glob(f"*{_SUFFIX}")):
                descriptor = _try_lock(path)
                if descriptor is not None:
                    locked.append((path, descriptor))
            yield [path for path, _ in locked]
        finally:
            for _, descriptor in locked:
                os.close(descriptor)

    def close(self) -> None:
        """Lets go of this process's file, so that it can be replayed."""
        with self._using:
            if self._descriptor is not None:
                os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> int:
        """The descriptor of this process's file, which is made with the first record."""
        if self._descriptor is None:
            self._descriptor = _make_file(self._folder)
            self._end = len(_MAGIC)
        return self._descriptor

    def _take_back(self) -> None:
        """Removes what an unfinished append has left, so that the next one does not follow a torn record."""
        if self._descriptor is None:
            return
        try:
            os.ftruncate(self._descriptor, self._end)
        except OSError:  # then the next one goes to another file
            os.close(self._descriptor)
            self._descriptor = None


def read_records(path: Path) -> Iterator[bytes]:
    """The payloads of a spool file, in order, up to its end or a torn record."""
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            return
        while len(header := file.read(_HEADER.size)) == _HEADER.size:
            length, checksum = _HEADER.unpack(header)
            payload = file.read(length)
            if len(payload) < length or zlib.crc32(payload) != checksum:
                return
            yield payload


def _make_file(folder: Path) -> int:
    """The descriptor of a new file, locked, named and ready for records; when that fails, nothing is left of it."""
    folder.mkdir(parents=True, exist_ok=True)
    # Ids sort by time, so files do too. Named only once it is locked: before, another process could claim it.
    path = folder / f"{new_id()}{_SUFFIX}"
    unnamed = path.with_suffix(".new")
    descriptor = os.open(unnamed, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _write_all(descriptor, _MAGIC)
        unnamed.rename(path)
        _sync_folder(folder)
    except OSError:
        os.close(descriptor)
        for leftover in (unnamed, path):
            leftover.unlink(missing_ok=True)
        raise
    return descriptor


def _try_lock(path: Path) -> int | None:
    """Locks a file that no living process holds; None when one does, or when the file has gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.exists():  # it may have been replayed and removed between opening and locking
            return descriptor
    except BlockingIOError:
        pass
    os.close(descriptor)
    return None


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_folder(folder: Path) -> None:
    """Makes a new file's name as durable as its content."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
