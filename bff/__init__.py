"""The BFF: the HTTP API, and the server of the page in `web/`.

| module                              | content                                                                    |
| ----------------------------------- | -------------------------------------------------------------------------- |
| `app`                               | opens the BFF: its routes, its error handlers, its server                  |
| `accounts`, `profiles`, `chats`,    | the routes of `/v1`, one module per resource                               |
| `groups`                            |                                                                            |
| `admin/`                            | the routes of `/v1/admin`, and their models                                |
| `files/`                            | uploads of files, their signed links, and downloads                        |
| `operations`, `site`                | health, metrics, keys and API descriptions; the files of the page          |
| `models`                            | bodies and queries of `/v1`                                                |
| `sign_ins`, `gateways`              | sign-ins; the gateway of a user                                            |
| `departures`, `services`            | deleted accounts leave groups; the dependencies of all routes              |
| `device_tokens`, `group_client`,    | tokens of known devices; the GroupService of all gateways; announcements   |
| `people_changes`                    | of invitations and blocks                                                  |
| `openapi/`                          | the OpenAPI document and `/docs`, generated from the routes                |
| `http/`                             | HTTP without knowledge of a resource: server, endpoints, problems, limits  |

Imports go down this table, never up. The package itself imports nothing: commands load the models without the server.
"""
