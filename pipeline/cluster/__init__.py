"""All of Ray, and nothing else: the connection, the stages and their graph, publishing tasks, training workers."""
