// Package docs holds what the pages say against what is there: every relative
// link of every page leads somewhere, and the commands of docs/deploy.md that
// can run on one machine are run, in their order, in one shell.
package docs
