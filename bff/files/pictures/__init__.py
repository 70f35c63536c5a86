"""Pictures among the files: encoded again without their metadata, with thumbnails and a placeholder. PDFs have
thumbnails, too.

| module       | content                                                                               |
| ------------ | ------------------------------------------------------------------------------------- |
| `renditions` | makes the renditions of a stored picture, by a worker process, and stores them        |
| `processes`  | starts a worker, and speaks with it                                                   |
| `worker`     | the process that decodes one picture, within limits that it can't lift                |
| `documents`  | renders the first page of a PDF; runs in the worker only                              |
| `rendering`  | decodes and encodes with Pillow; runs in the worker only                              |
| `animations` | animated GIF and WebP without their metadata                                          |
| `thumbhash`  | the placeholder                                                                       |

Imports go down this table, never up; only a worker's process imports the last five.
"""
