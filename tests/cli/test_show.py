from pathlib import Path

from tests.profiling.models import SharedConvolution
from vireid.cli.show import cost_table
from vireid.core.records import CostRecord
from vireid.profiling.complexity import complexity

HISTORIC = Path(__file__).parents[1] / "historic_records"


def test_the_cost_table_says_which_counter_is_wrong_and_why():
    cost_record = CostRecord.model_validate_json((HISTORIC / "v1-cost.json").read_text())
    counted = complexity(SharedConvolution(), 8, 8)
    record = cost_record.model_copy(update={name: counted[name] for name in ("macs", "counters", "disagreement")})
    lines = {line.partition("\t")[0]: line for line in cost_table(record).plain_lines()}
    assert "right: counts what is executed" in lines["MACs by torch"]
    assert "known to be wrong here: it hooks a shared module" in lines["MACs by thop"]
    assert "711.11 %" in lines["counters differ by"]
