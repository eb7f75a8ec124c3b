// Package carrier brings calls from the edge to the API and answers back. It
// names every request, keeps the trace context, counts, times and writes the
// access log; the API sees calls, not bytes.
//
// [Carrier] serves HTTP/1.1. A request may turn its connection into a session,
// and a raw connection of frames begins as one: many calls at a time, each on a
// stream, as protobuf frames or as JSON. A session is fed on its connection's
// event loop; a large message is read off the loop while input waits, so that
// messages keep their order. A session ends its streams when its connection
// goes, and its connection when the server drains and the last call is answered.
package carrier
