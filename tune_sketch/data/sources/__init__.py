"""The places that drawings come from: data sets by name, and the layouts of folders and archives."""
