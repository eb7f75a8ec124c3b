// Package compose is a folder of Compose files. No Docker engine runs in its
// tests: Compose's own library loads the files, and the services judge what they
// are given in them.
package compose
