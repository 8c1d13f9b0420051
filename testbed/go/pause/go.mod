// The program that holds a pod's namespaces on the testbed's nodes.
module managedredis.dev/testbed/pause

go 1.26.0
