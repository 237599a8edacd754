"""The roofline picture: what each op reaches, under what this machine can do at best."""

import numpy as np

COLOURS = ("tab:blue", "tab:cyan", "tab:green", "tab:olive", "tab:purple", "tab:red", "tab:brown", "tab:orange", "k")
LABEL = 11  # points of paper that a number needs around its middle
AWAY = [(r * np.cos(a), r * np.sin(a)) for r in (13, 22, 31, 40, 52) for a in np.arange(0, 6.28, 0.524)]  # to try


def draw(document, path):
    """Write the picture of a `bench ops` document to a file; its ending (.png, .svg, .pdf) says in which format.

    Left and right: arithmetic intensity, operations per byte that has to move. An op can't be above the roof: to the
    left memory traffic is the limit, to the right multiply-adds. Ops that only move data (0 operations) are left out.
    """
    from matplotlib.figure import Figure

    rows, peaks = [row for row in document["rows"] if row["flops"]], document["peaks"]
    groups = list(dict.fromkeys(row["group"] for row in rows))
    colours = {group: COLOURS[i % len(COLOURS)] for i, group in enumerate(groups)}
    figure = Figure(figsize=(15, 8.5), layout="constrained")
    axes, legend = figure.subplots(1, 2, width_ratios=(2, 1))
    roof = draw_roofs(axes, rows, peaks)
    points = [(row["flops"] / row["bytes"], row["gflops"]) for row in rows]
    for (x, y), row in zip(points, rows, strict=True):
        axes.plot(x, y, "o", color=colours[row["group"]], markersize=5)
    machine, card = document["machine"], document.get("card")
    where = card["name"] if card else f"{machine['processor']} ({machine['simd']}), threads: {document['threads']}"
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="arithmetic intensity: operations per byte that has to move at least\n"
        "(above the roof: a cache holds the data, or Winograd needs fewer multiplications)",
        ylabel="GFLOP/s",
        title=f"minisegnet ops on {where}",
    )
    axes.grid(which="major", color="0.9")
    axes.set_axisbelow(True)
    number_points(figure, axes, points, [colours[row["group"]] for row in rows], roof)
    list_rows(legend, rows, colours)
    figure.savefig(path, dpi=110)


def draw_roofs(axes, rows, peaks):
    """The two roofs, with room for their names at both ends. Returns points along them."""
    gflops, gbs = peaks["gflops"], peaks["gbs"]
    intensities = [*(row["flops"] / row["bytes"] for row in rows), gflops / gbs]
    x = np.geomspace(min(intensities) / 4, max(intensities) * 8, 200)
    y = np.minimum(x * gbs, gflops)
    axes.plot(x, y, color="0.4", linewidth=1.5)
    named = {"textcoords": "offset points", "ha": "right", "color": "0.3"}
    axes.annotate(f"{gflops:,.0f} GFLOP/s", (x[-1], y[-1]), (0, 5), **named)
    axes.annotate(f"{gbs:,.1f} GB/s", (3 * x[0], 3 * y[0]), (-8, 2), **named)
    return np.column_stack([x, y])


def number_points(figure, axes, points, colours, roof):
    """1, 2, 3, ... beside the points, where there is room: neither on other points and numbers nor on the roof."""
    figure.draw_without_rendering()  # only now it is known where on the page a point is
    scale = 72 / figure.dpi  # pixels to points
    places = axes.transData.transform(points) * scale
    taken = [tuple(place) for place in (*places, *(axes.transData.transform(roof) * scale))]
    for number, (point, place, colour) in enumerate(zip(points, places, colours, strict=True), 1):
        offset = min(AWAY, key=lambda away: crowding(place + away, taken) + np.hypot(*away) / 200)
        taken.append(tuple(place + offset))
        axes.annotate(
            str(number),
            point,
            offset,
            textcoords="offset points",
            fontsize=7.5,
            color=colour,
            ha="center",
            va="center",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.4, "shrinkA": 3, "shrinkB": 0},
        )


def crowding(place, taken):
    """How many of the taken places are too near, each counting by how much."""
    distances = np.hypot(*(np.array(taken) - place).T)
    return np.clip(1 - distances / LABEL, 0, None).sum()


def list_rows(axes, rows, colours):
    """The numbers and what they stand for."""
    axes.axis("off")
    axes.set_title("GFLOP/s", fontsize=9, loc="left")
    for i, row in enumerate(rows):
        line = f"{i + 1:3d}  {row['op']} {row['shape']}: {row['gflops']:,.1f}"
        height = 1 - i / max(len(rows), 40)
        axes.text(0, height, line, transform=axes.transAxes, fontsize=7.5, color=colours[row["group"]], va="top")
