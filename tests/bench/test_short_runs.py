"""Every bench and the chaos run work: a short run of each, its last line read as its users read it."""

import json
import subprocess
import sys
from typing import Any

import pytest

TREE_KEYS = (
    "members answers_equal import_s import_ratio summary_100k_ratio_cte summary_100k_ratio_ltree summary_all_ratio_cte "
    "orders_per_s enrolments_per_s batch_get_members_per_s stream_arrow_rows_per_s stream_rows_per_s "
    "get_member_vs_empty update_delay_added_p99_ms import_peak_gb steady_gb restart_s"
)
COLUMNS_KEYS = (
    "members import_s import_with_s steady_gb steady_with_gb restart_s restart_with_s texts_gb bytes_a_text "
    "enrolments_per_s longest_gap_ms failed_reads"
)
PERIODS_KEYS = (
    "members file_gb kept_s close_ms first_ms first_max_ms first_after_restart_ms member_ratio summary_ratio top_ratio "
    "member_ms summary_ms top_ms"
)
FANOUT_KEYS = "orders_per_s orders_ratio visible_p50_ms visible_p99_ms"
SPOOL_KEYS = "records records_per_s service_us service_mb_before service_mb_largest small_s small_among_waiting_s"
MESSAGES_KEYS = "recipients kills seconds per_s letters again most_again service_mb_largest"
OVERLOAD_KEYS = (
    "capacity_per_s goodput_ratio p99_ms p99_ms_over p99_ms_after back_to_normal_s memory_grown_mb elections "
    "applied_gap_s statuses pushes_capacity_per_s pushes_goodput_ratio pushes_elections pushes_memory_grown_mb"
)
CALLERS_KEYS = "named_us address_us"
CONSOLE_KEYS = "members boxes_max paint_p50_ms paint_max_ms open_p50_ms open_max_ms"
LOG_IDS_KEYS = "store ids ratio pushes_per_s pushes_per_s_without_ids open_s_without_ids bytes_an_id_on_disk"
FEW_IDS = ("--ids", "20000", "--rounds", "3")
SEALING_KEYS = "clear_save_s sealed_save_s sealed_save_ratio clear_read_s sealed_read_s sealed_read_ratio state_mb"
FAILOVER_KEYS = "failed_reads longest_gap_ms_kill longest_gap_ms_switchover restart_ready_s"
CHAOS_KEYS = "reads failed_reads longest_gap_ms pushed lost twice linearizable digests_equal elections faults"


def last_line(*command: str) -> dict[str, Any]:
    """Runs a bench; returns its last line, with what it said on the way where it failed."""
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-5000:]}"
    figures = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(figures, dict)
    return figures


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("command", "keys"),
    [
        (("bench.tree", "--members", "20000", "--peer", "none"), TREE_KEYS),
        (("bench.columns", "--members", "20000"), COLUMNS_KEYS),
        (("bench.closed_periods", "--members", "20000"), PERIODS_KEYS),
        (("bench.fanout", "--members", "5000", "--orders", "5000", "--peer", "none"), FANOUT_KEYS),
        (("bench.spool", "--records", "20000", "--waiting", "2000"), SPOOL_KEYS),
        (("bench.messages", "--recipients", "2000", "--kills", "1"), MESSAGES_KEYS),
        (("bench.overload.callers", "--calls", "1000"), CALLERS_KEYS),
        (("bench.console", "--members", "2000", "--rounds", "1", "--openings", "2"), CONSOLE_KEYS),
        (("bench.sealing", "--orders", "0", "--megabytes", "16", "--rounds", "1"), SEALING_KEYS),
        (("bench.log_ids", "--store", "sqlite", *FEW_IDS), LOG_IDS_KEYS + " open_s"),
        (("bench.log_ids", "--store", "postgresql", *FEW_IDS), LOG_IDS_KEYS + " open_s open_anew_s"),
        (("bench.log_ids", "--store", "jetstream", *FEW_IDS), LOG_IDS_KEYS),
        (("bench.failover", "--rounds", "1", "--members", "2000"), FAILOVER_KEYS),
    ],
    ids=[
        "tree",
        "columns",
        "closed_periods",
        "fanout",
        "spool",
        "messages",
        "callers",
        "console",
        "sealing",
        "log_ids_sqlite",
        "log_ids_postgresql",
        "log_ids_jetstream",
        "failover",
    ],
)
def test_a_bench_prints_its_figures(command: tuple[str, ...], keys: str) -> None:
    assert set(last_line(*command)) >= set(keys.split())


@pytest.mark.timeout(600)
def test_a_short_chaos_keeps_every_promise() -> None:
    figures = last_line("bench.chaos", "--seconds", "10", "--members", "2000", "--seed", "1", "--hostile")
    assert figures["hostile"]["drops"]
    assert figures["hostile"]["taken"] == []
    assert set(figures) >= set(CHAOS_KEYS.split())
    assert figures["lost"] == 0
    assert figures["twice"] == 0
    assert figures["linearizable"] is True
    assert figures["reads_of_a_position"] > 0
    assert figures["digests_equal"] is True
    assert figures["failed_reads"] == 0


@pytest.mark.timeout(600)
def test_too_many_reads_and_pushes_cost_no_role_and_no_update() -> None:
    figures = last_line("bench.overload", "--members", "5000", "--seconds", "2", "--short", "1")
    assert set(figures) >= set(OVERLOAD_KEYS.split())
    assert figures["elections"] == figures["pushes_elections"] == 0
    assert figures["capacity_per_s"] > 0


@pytest.mark.timeout(600)
@pytest.mark.parametrize("how", [(), ("--stops",)])
def test_no_role_changes_on_half_a_processor(how: tuple[str, ...]) -> None:
    figures = last_line("bench.quota", "--members", "20000", "--imports", "1", *how)
    assert figures["role_changes"] == 0
    assert figures["failed_reads"] == 0
    assert len(figures["import_s"]) == 1
    assert figures["held_by"] == "stops" or not how


@pytest.mark.timeout(900)
def test_a_short_attack_is_held_off() -> None:
    figures = last_line("bench.attack", "--members", "2000", "--scale", "0.05")
    assert figures["not_held_off"] == {}
    assert figures["held_off"] == figures["attacks"]
    assert figures["role_changes"] == 0
    assert figures["failed_reads"] == 0
    assert figures["lost"] == 0
    assert figures["twice"] == 0
    assert figures["digests_equal"] is True


@pytest.mark.timeout(600)
def test_pushers_that_change_over_refuse_and_lose_nothing() -> None:
    figures = last_line("bench.changeovers", "--rounds", "1", "--members", "2000")
    assert figures["pusher_switchover_ms"] > 0
    assert figures["pusher_killed_ms"] > 0
    assert (figures["refused"], figures["lost"], figures["twice"]) == (0, 0, 0)
