"""Cells of the report's tables, written from the rules of print alone."""


def eer_cell(entry):
    """An EER as it is to be printed, written here from the rule: few errors or ties are marked."""
    errors, hull = entry["errors"]["eer"], entry["eer_rocch"]
    few = errors["misses"] < 30 or errors["false_alarms"] < 30
    tied = abs(entry["eer"] - hull) > 0.1 * min(entry["eer"], hull)
    return f"{entry['eer']:.2f}" + (f"* ({hull:.2f})" if few or tied else "")


def cost_cell(entry, prior):
    """A minDCF as it is to be printed, written here from the rule: few errors are marked."""
    errors = entry["errors"]["min_dcf"][prior]
    return f"{entry['min_dcf'][prior]:.3f}" + "*" * (min(errors["misses"], errors["false_alarms"]) < 30)
