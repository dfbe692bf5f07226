"""What an entry costs with PostgreSQL does not grow with what lies there: no table is read from end to end for it."""

import sys
from pathlib import Path

from pourparler_service.postgres.testing import administer, databases
from pourparler_service.testing import running

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.service.cells import Cell, Load, prepared
from tests.bench.service.processes import Spent

CHANNELS, STORED = 400, 4_000
_READ = (
    "SELECT coalesce(sum(seq_tup_read), 0) FROM pg_stat_user_tables"
    " WHERE relname IN ('channel', 'device', 'entry') OR relname LIKE 'body%'"
)


def test_appending_and_looking_for_what_is_over_read_no_table_from_end_to_end(tmp_path: Path) -> None:
    with databases(tmp_path) as name:
        seats = prepared(tmp_path, name, Cell("postgresql", devices=2, channels=CHANNELS, stored=STORED))
        ((before,),) = administer(_READ, name)
        with running(tmp_path) as server:
            Load(rate=40, seconds=1.0).run([server.url], seats[:30], lambda: Spent(0.0, 0.0), spread=True)
        ((after,),) = administer(_READ, name)  # whoever ends a connection has counted all that it read
        assert after - before < CHANNELS
