// Package single holds no code: its tests run `voicemill up` as users do, end
// it in every way, take from it what it needs, and hand it what it must refuse.
package single
