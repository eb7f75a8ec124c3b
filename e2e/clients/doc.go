// Package clients holds no code: its tests let clients that are not ours call a
// running voicemill, as their own documentation says one calls it: curl, a page
// in Chromium, and beside them our client of the binary frames.
package clients
