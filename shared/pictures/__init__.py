"""Pictures that users send: decoded in a process of their own, and encoded again without their metadata.

| module        | content                                                                              |
| ------------- | ------------------------------------------------------------------------------------ |
| `renditions`  | renders files in their store, avatars, and the pictures of link previews             |
| `processes`   | starts a worker, and speaks with it                                                  |
| `purposes`,   | the purposes of rendered pictures; the media types that can be rendered              |
| `media_types` |                                                                                      |
| `worker`      | the process that decodes one picture, within limits that it can't lift               |
| `documents`   | renders the first page of a PDF; runs in the worker only                             |
| `rendering`   | decodes and encodes with Pillow; runs in the worker only                             |
| `animations`  | animated GIF and WebP without their metadata                                         |
| `cleaning`    | JPEG and PNG without their metadata, for pictures that are not decoded in full       |
| `thumbhash`   | the placeholder                                                                      |
"""
