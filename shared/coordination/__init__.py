"""Facts that the processes of a platform agree on: the owner of each partition, and which processes run."""
