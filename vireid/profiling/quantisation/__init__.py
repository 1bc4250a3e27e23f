"""Post-training quantisation of a deployed graph to int8."""
