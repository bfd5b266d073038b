"""Links between the dashboards, in the form that Grafana fills in. Pure."""

from grafana.panels import Link

RANGE = "${__url_time_range}"


def to_member(dimension: str, member: str = "${__value.raw:percentencode}") -> Link:
    """To the page of one member, by default the one that the cell or bar names.

    Args:
        dimension: as the variable `dimension` of that page has it, or something that Grafana fills in.
        member: likewise; `(unattributed)` is what bears none.
    """
    title = "Look into it"
    return Link(title, f"/d/spend-member/?var-dimension={dimension}&var-member={member}&{RANGE}")


def to_page(uid: str, title: str) -> Link:
    """To another page, with the range of this one."""
    return Link(title, f"/d/{uid}/?{RANGE}")
