"""One short file per loss: functions on tensors that know no model."""
