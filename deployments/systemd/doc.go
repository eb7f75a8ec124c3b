// Package systemd is a folder of units and environment files; its tests have
// systemd and the services judge them.
package systemd
