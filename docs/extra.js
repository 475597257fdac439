// The chapter that shows the library's own source is meant to be read: unfold it.
document.querySelectorAll("details.mkdocstrings-source").forEach((source) => { source.open = true; });
