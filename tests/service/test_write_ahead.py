"""The write-ahead log of the embedded database: emptied when it is full, not at every commit after that."""

from pathlib import Path

from pourparler_service.database import WAL_SOFT_LIMIT, Database, connect, raw


def _commit(database: Database, size: int) -> None:
    connection = raw(database.write)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO body (bytes) VALUES (zeroblob(?))", (size,))
    connection.execute("COMMIT")


def _fill(database: Database) -> None:
    for _ in range(2 * WAL_SOFT_LIMIT // 200_000):
        if database.wal_is_full():
            return
        _commit(database, 200_000)
    raise AssertionError("the log never was full")


def test_a_log_that_was_full_once_is_emptied_when_it_is_full_again_and_not_before(tmp_path: Path) -> None:
    with Database(tmp_path) as database:
        for _ in range(2):
            _fill(database)
            assert database.checkpoint(truncate=False)
            for _ in range(10):
                _commit(database, 1000)
                assert not database.wal_is_full()


def test_a_log_that_a_reader_made_long_is_cut_when_the_reader_has_gone(tmp_path: Path) -> None:
    with Database(tmp_path) as database:
        with connect(database.path, read_only=True) as reader:
            raw(reader).execute("BEGIN")
            raw(reader).execute("SELECT count(*) FROM body").fetchone()
            while database.wal.stat().st_size < 2 * WAL_SOFT_LIMIT:
                _commit(database, 1_000_000)
            assert database.checkpoint(truncate=False)  # but not all of it
        assert database.checkpoint(truncate=False)
        assert database.wal.stat().st_size == 0
        _commit(database, 1000)
        assert not database.wal_is_full()
