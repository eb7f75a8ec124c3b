// Package fsck holds the bucket against the database, from outside and while all
// runs: every object has a row that names it, and every row that names an object
// has it. It walks through both in the order of the names, in constant memory, and
// looks again at whatever does not fit before it says so, since both go on changing.
package fsck
