// Package nginx is a folder with an example of nginx in front of the gateway;
// its test puts the real one there.
package nginx
