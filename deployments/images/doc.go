// Package images is a folder of Dockerfiles. No Docker engine runs in its
// tests: buildkit's own parser reads the files, and what they run and copy is
// done in a Debian root, where the programs are started as the images start them.
package images
