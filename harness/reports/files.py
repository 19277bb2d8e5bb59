"""The names of the files that a leaderboard's folder holds."""

from harness.store.layout import Named, StageFiles

__all__ = ["LeaderboardFiles"]


class LeaderboardFiles(StageFiles):
    """The files in a leaderboard's folder; sheets of galleries and folders of masks have the names of their lines."""

    state = Named("state.json")
    """What the folder shows: where nothing else is to be shown, nothing is written again."""
    provisional = Named("provisional.md")
    """The tables of a run that goes on, or was killed; it goes when the others are written."""
    page = Named("report.html")
    """All that the folder shows, as one file for a browser."""
    table_markdown = Named("table.md")
    table_csv = Named("table.csv")
    table_latex = Named("table.tex")
    table_png = Named("table.png")
    table_svg = Named("table.svg")
    noise_png = Named("noise.png")
    noise_svg = Named("noise.svg")
    grid = Named("grid.json")
    """Of a suite with a grid: its factors and cells, which the rows do not tell."""
    grid_markdown = Named("grid.md")
    grid_latex = Named("grid.tex")
    grid_csv = Named("grid.csv")
    grid_png = Named("grid.png")
    grid_svg = Named("grid.svg")
    effects_csv = Named("effects.csv")
    effects_png = Named("effects.png")
    effects_svg = Named("effects.svg")
    variance_csv = Named("variance.csv")
    rows = Named("rows.parquet")
    score_counts = Named("counts.parquet")
    """Counts of each photo by masks; a record's `row` is the position in the rows."""
    sweep_counts = Named("sweeps.parquet")
    """Counts of each photo by localization maps, for every threshold."""
    tiles = Named("tiles.json")
    """Pictures of single photos for the page, over their outlines where the photos are not ours."""
    photo_tiles = Named("photos-tiles.json")
    """The same over the photos, for the user's own eyes."""
    diagnostics = Named("diagnostics.csv")
    training_csv = Named("training.csv")
    training_png = Named("training.png")
    log = Named("log.jsonl")
    """Of a leaderboard that rows are added to: what was added and corrected, a line each; nothing is taken out."""
    lock = Named(".lock")
    """Of a leaderboard that rows are added to: held by the process that adds some, and gone afterwards."""
    masks = Named("masks")
    """The folder of the masks that were handed in: one folder for each entry, named by their sha256."""
