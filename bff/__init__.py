"""The BFF: the HTTP API, and the server of the page in `web/`.

| module                              | content                                                                    |
| ----------------------------------- | -------------------------------------------------------------------------- |
| `app`                               | opens the BFF: its routes, its error handlers, its server                  |
| `accounts`, `profiles`, `people`,   | the routes of `/v1`, one module per resource; `joining` has the invite     |
| `chats`, `groups`, `joining`        | links, public groups and requests to join                                  |
| `admin/`                            | the routes of `/v1/admin`, and their models                                |
| `files/`                            | uploads of files, their signed links, and downloads                        |
| `operations`, `site`                | health, metrics, keys and API descriptions; the files of the page          |
| `sign_ins`, `gateways`              | sign-ins; the gateway of a user                                            |
| `deletions`, `departures`, `work`   | deletes accounts, which leave their groups; work that outlives a request   |
| `device_tokens`, `group_client`     | tokens of known devices; the GroupService of all gateways                  |
| `people_changes`, `read_marks`      | announcements of invitations and blocks; the marks that a user may not see |
| `services`                          | the dependencies of all routes                                             |
| `openapi/`                          | the OpenAPI document and `/docs`, generated from the routes                |
| `http/`                             | HTTP without knowledge of a resource: server, endpoints, problems, limits  |
| `models/`, `validation`             | bodies and queries of `/v1`; the refusals of values that they reject       |

`pyproject.toml` states which module may import which. The package itself imports nothing: commands load the models
without the server.
"""
