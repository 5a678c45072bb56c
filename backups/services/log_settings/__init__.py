"""Log backup settings of a cluster: read from the cloud, and changed there."""
