"""Link previews: pages that anybody names are fetched by a process of its own, from public addresses only."""
