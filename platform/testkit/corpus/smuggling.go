package corpus

import (
	"maps"
	"strings"
)

// Canary is a request that is sent behind every case. If the framing of the case
// is read differently than it was meant, the canary disappears into it or
// another request appears.
const Canary = "GET /canary HTTP/1.1\r\nHost: h\r\n\r\n"

// Smuggle is what a client sends where one request is expected. Limits are those
// of the gateway: a head of 16 KiB with 64 fields, a target of 8 KiB, a body of
// 1 MiB.
type Smuggle struct {
	RFC    string // number and section of the RFC that decides
	Raw    string
	Status int    // of the only answer, before the connection ends; 0 if Raw is one request
	Body   string // of that request
}

// Smuggling returns the cases of HTTP/1.1 that must be read in one way only, or
// refused, by name.
func Smuggling() map[string]Smuggle {
	all := lengthCases()
	maps.Copy(all, codingCases())
	maps.Copy(all, chunkCases())
	maps.Copy(all, headCases())
	return all
}

func post(fields, body string) string {
	return "POST / HTTP/1.1\r\nHost: h\r\n" + fields + "\r\n" + body
}

const (
	chunkedField = "Transfer-Encoding: chunked\r\n"
	oneChunk     = "3\r\nabc\r\n0\r\n\r\n"
)

func lengthCases() map[string]Smuggle {
	return map[string]Smuggle{
		"sized body":                        {"9112 6.2", post("Content-Length: 3\r\n", "abc"), 0, "abc"},
		"no body":                           {"9112 6.3", post("", ""), 0, ""},
		"zero length":                       {"9112 6.2", post("Content-Length: 0\r\n", ""), 0, ""},
		"length with leading zeros":         {"9110 8.6", post("Content-Length: 003\r\n", "abc"), 0, "abc"},
		"GET with a body":                   {"9110 9.3.1", "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", 0, "abc"},
		"length and chunked":                {"9112 6.1", post("Content-Length: 3\r\n"+chunkedField, oneChunk), 400, ""},
		"chunked and length":                {"9112 6.1", post(chunkedField+"Content-Length: 3\r\n", oneChunk), 400, ""},
		"length zero and chunked":           {"9112 6.1", post("Content-Length: 0\r\n"+chunkedField, oneChunk), 400, ""},
		"two equal lengths":                 {"9112 6.3", post("Content-Length: 3\r\nContent-Length: 3\r\n", "abc"), 400, ""},
		"two different lengths":             {"9112 6.3", post("Content-Length: 3\r\nContent-Length: 0\r\n", "abc"), 400, ""},
		"two lengths in other case":         {"9110 5.1", post("Content-Length: 3\r\ncONTENT-lENGTH: 3\r\n", "abc"), 400, ""},
		"list of equal lengths":             {"9112 6.3", post("Content-Length: 3, 3\r\n", "abc"), 400, ""},
		"list of different lengths":         {"9112 6.3", post("Content-Length: 3, 0\r\n", "abc"), 400, ""},
		"length with plus":                  {"9110 8.6", post("Content-Length: +3\r\n", "abc"), 400, ""},
		"length with minus":                 {"9110 8.6", post("Content-Length: -3\r\n", "abc"), 400, ""},
		"length in hexadecimal":             {"9110 8.6", post("Content-Length: 0x3\r\n", "abc"), 400, ""},
		"length with fraction":              {"9110 8.6", post("Content-Length: 3.0\r\n", "abc"), 400, ""},
		"length with exponent":              {"9110 8.6", post("Content-Length: 3e0\r\n", "abc"), 400, ""},
		"length with inner blank":           {"9110 8.6", post("Content-Length: 3 0\r\n", "abc"), 400, ""},
		"length with underscore":            {"9110 8.6", post("Content-Length: 1_0\r\n", "abc"), 400, ""},
		"empty length":                      {"9110 8.6", post("Content-Length:\r\n", "abc"), 400, ""},
		"length of blanks":                  {"9110 8.6", post("Content-Length: \t \r\n", "abc"), 400, ""},
		"length that overflows 64 bits":     {"9110 8.6", post("Content-Length: 18446744073709551619\r\n", "abc"), 400, ""},
		"length that overflows when signed": {"9110 8.6", post("Content-Length: 9223372036854775811\r\n", "abc"), 400, ""},
		"length in fullwidth digits":        {"9110 8.6", post("Content-Length: \xef\xbc\x93\r\n", "abc"), 400, ""},
		"length with vertical tab":          {"9110 5.5", post("Content-Length: \v3\r\n", "abc"), 400, ""},
		"length in quotes":                  {"9110 8.6", post("Content-Length: \"3\"\r\n", "abc"), 400, ""},
		"length with semicolon":             {"9110 8.6", post("Content-Length: 3;\r\n", "abc"), 400, ""},
		"length over the limit":             {"9110 15.5.14", post("Content-Length: 1048577\r\n", ""), 413, ""},
		"blank before the colon of length":  {"9112 5.1", post("Content-Length : 3\r\n", "abc"), 400, ""},
		"tab before the colon of length":    {"9112 5.1", post("Content-Length\t: 3\r\n", "abc"), 400, ""},
		"NUL in the name of length":         {"9110 5.1", post("Content-Length\x00: 3\r\n", "abc"), 400, ""},
		"underscore for hyphen in length":   {"9110 5.1", post("Content_Length: 3\r\n", ""), 0, ""},
	}
}

func codingCases() map[string]Smuggle {
	return map[string]Smuggle{
		"chunked":                             {"9112 7.1", post(chunkedField, oneChunk), 0, "abc"},
		"chunked in capitals":                 {"9112 7", post("TRANSFER-ENCODING: CHUNKED\r\n", oneChunk), 0, "abc"},
		"chunked with trailing blanks":        {"9110 5.5", post("Transfer-Encoding: chunked \t\r\n", oneChunk), 0, "abc"},
		"coding without blank":                {"9110 5.5", post("Transfer-Encoding:chunked\r\n", oneChunk), 0, "abc"},
		"chunked twice in a list":             {"9112 6.1", post("Transfer-Encoding: chunked, chunked\r\n", oneChunk), 400, ""},
		"chunked twice in fields":             {"9112 6.1", post(chunkedField+chunkedField, oneChunk), 400, ""},
		"chunked then identity in fields":     {"9112 6.1", post(chunkedField+"Transfer-Encoding: identity\r\n", oneChunk), 400, ""},
		"identity then chunked in fields":     {"9112 6.1", post("Transfer-Encoding: identity\r\n"+chunkedField, oneChunk), 501, ""},
		"chunked not last":                    {"9112 6.3", post("Transfer-Encoding: chunked, gzip\r\n", oneChunk), 400, ""},
		"gzip and chunked":                    {"9112 6.1", post("Transfer-Encoding: gzip, chunked\r\n", oneChunk), 400, ""},
		"gzip alone":                          {"9112 6.1", post("Transfer-Encoding: gzip\r\n", "abc"), 501, ""},
		"identity alone":                      {"9112 7", post("Transfer-Encoding: identity\r\n", "abc"), 501, ""},
		"empty coding":                        {"9112 6.1", post("Transfer-Encoding:\r\n", "abc"), 400, ""},
		"coding with leading comma":           {"9110 5.6.1", post("Transfer-Encoding: ,chunked\r\n", oneChunk), 400, ""},
		"coding with trailing comma":          {"9110 5.6.1", post("Transfer-Encoding: chunked,\r\n", oneChunk), 400, ""},
		"coding with parameter":               {"9112 7", post("Transfer-Encoding: chunked;q=1\r\n", oneChunk), 501, ""},
		"coding in quotes":                    {"9112 7", post("Transfer-Encoding: \"chunked\"\r\n", oneChunk), 501, ""},
		"coding with a prefix":                {"9112 7", post("Transfer-Encoding: xchunked\r\n", oneChunk), 501, ""},
		"coding with a vertical tab":          {"9110 5.5", post("Transfer-Encoding: \vchunked\r\n", oneChunk), 400, ""},
		"coding with a NUL":                   {"9110 5.5", post("Transfer-Encoding: chunked\x00\r\n", oneChunk), 400, ""},
		"blank before the colon of coding":    {"9112 5.1", post("Transfer-Encoding : chunked\r\n", oneChunk), 400, ""},
		"folded coding":                       {"9112 5.2", post("Transfer-Encoding:\r\n chunked\r\n", oneChunk), 400, ""},
		"coding hidden behind a fold":         {"9112 5.2", post("X: y\r\n Transfer-Encoding: chunked\r\n", oneChunk), 400, ""},
		"coding behind a bare LF":             {"9112 2.2", post("X: y\nTransfer-Encoding: chunked\r\n", oneChunk), 400, ""},
		"coding behind a bare CR":             {"9112 2.2", post("X: y\rTransfer-Encoding: chunked\r\n", oneChunk), 400, ""},
		"coding in HTTP/1.0":                  {"9112 6.1", "POST / HTTP/1.0\r\n" + chunkedField + "\r\n" + oneChunk, 400, ""},
		"name with a control character":       {"9110 5.1", post("Transfer\x01-Encoding: chunked\r\n", oneChunk), 400, ""},
		"name in Latin-1":                     {"9110 5.1", post("Transf\xe9r-Encoding: chunked\r\n", oneChunk), 400, ""},
		"length in the query":                 {"9112 3.2", "POST /?Content-Length:%203 HTTP/1.1\r\nHost: h\r\n\r\n", 0, ""},
		"length as a value":                   {"9110 5.5", post("X: Content-Length: 3\r\n", ""), 0, ""},
		"expectation and a body":              {"9110 10.1.1", post("Expect: 100-continue\r\nContent-Length: 3\r\n", "abc"), 0, "abc"},
		"unknown expectation":                 {"9110 10.1.1", post("Expect: 200-ok\r\n", ""), 417, ""},
		"length announced for an upgrade":     {"9110 7.8", post("Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n", "abc"), 0, "abc"},
		"length named as hop by hop":          {"9110 7.6.1", post("Connection: content-length\r\nContent-Length: 3\r\n", "abc"), 0, "abc"},
		"fields of a trailer announced":       {"9110 6.6.2", post("Trailer: Content-Length\r\n"+chunkedField, "0\r\nContent-Length: 33\r\n\r\n"), 0, ""},
		"length sent as trailer":              {"9110 6.5.1", post(chunkedField, "0\r\nContent-Length: 33\r\n\r\n"), 0, ""},
		"coding sent as trailer":              {"9110 6.5.1", post(chunkedField, "0\r\nTransfer-Encoding: chunked\r\n\r\n"), 0, ""},
		"connection list that is not one":     {"9110 7.6.1", post("Connection: a b\r\n", ""), 400, ""},
		"coding in two fields, each a part":   {"9112 6.1", post("Transfer-Encoding: gzip\r\n"+chunkedField, oneChunk), 501, ""},
		"coding with a line feed in it":       {"9110 5.5", post("Transfer-Encoding: chun\nked\r\n", oneChunk), 400, ""},
		"coding followed by a bare CR":        {"9112 2.2", post("Transfer-Encoding: chunked\r\r\n", oneChunk), 400, ""},
		"coding with a leading NUL":           {"9110 5.5", post("Transfer-Encoding: \x00chunked\r\n", oneChunk), 400, ""},
		"coding name in Latin-1 letters":      {"9110 5.1", post("Transfer-Encod\xefng: chunked\r\n", oneChunk), 400, ""},
		"length behind a NUL":                 {"9110 5.5", post("X: \x00\r\nContent-Length: 3\r\n", "abc"), 400, ""},
		"length behind a bare CR":             {"9112 2.2", post("X: y\rContent-Length: 3\r\n", "abc"), 400, ""},
		"length behind a bare LF":             {"9112 2.2", post("X: y\nContent-Length: 3\r\n", "abc"), 400, ""},
		"length behind a fold":                {"9112 5.2", post("X: y\r\n Content-Length: 3\r\n", "abc"), 400, ""},
		"length that is folded":               {"9112 5.2", post("Content-Length:\r\n 3\r\n", "abc"), 400, ""},
		"length without colon":                {"9112 5", post("Content-Length 3\r\n", "abc"), 400, ""},
		"length with two colons":              {"9110 8.6", post("Content-Length:: 3\r\n", "abc"), 400, ""},
		"length in Arabic digits":             {"9110 8.6", post("Content-Length: \xd9\xa3\r\n", "abc"), 400, ""},
		"length with a comment":               {"9110 5.6.5", post("Content-Length: 3 (abc)\r\n", "abc"), 400, ""},
		"HEAD with a body":                    {"9110 9.3.2", "HEAD / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", 0, "abc"},
		"TRACE with a body":                   {"9110 9.3.8", "TRACE / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", 0, "abc"},
		"unknown method with a body":          {"9110 9.1", "FETCH / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", 0, "abc"},
		"HTTP/1.0 with a body, kept alive":    {"9112 9.3", "POST / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc", 0, "abc"},
		"Expect in HTTP/1.0 is ignored":       {"9110 10.1.1", "POST / HTTP/1.0\r\nExpect: 100-continue\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc", 0, "abc"},
		"expectation with a parameter":        {"9110 10.1.1", post("Expect: 100-continue;q=1\r\n", ""), 417, ""},
		"method override by the length of it": {"9110 9.1", strings.Repeat("M", 25) + " / HTTP/1.1\r\nHost: h\r\n\r\n", 400, ""},
	}
}

func chunkCases() map[string]Smuggle {
	chunked := func(body string) string { return post(chunkedField, body) }
	return map[string]Smuggle{
		"two chunks":                        {"9112 7.1", chunked("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), 0, "abcde"},
		"size in either case":               {"9112 7.1", chunked("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n"), 0, "01234567890123456789"},
		"size with leading zeros":           {"9112 7.1", chunked("003\r\nabc\r\n000\r\n\r\n"), 0, "abc"},
		"only the last chunk":               {"9112 7.1", chunked("0\r\n\r\n"), 0, ""},
		"extension":                         {"9112 7.1.1", chunked("3;a=b\r\nabc\r\n0;c\r\n\r\n"), 0, "abc"},
		"extension in quotes":               {"9112 7.1.1", chunked("3;a=\"b;c\"\r\nabc\r\n0\r\n\r\n"), 0, "abc"},
		"extension with a bare LF":          {"9112 7.1.1", chunked("3;a\nabc\r\n0\r\n\r\n"), 400, ""},
		"extension with a bare CR":          {"9112 7.1.1", chunked("3;a\rbc\r\nabc\r\n0\r\n\r\n"), 400, ""},
		"extension with a NUL":              {"9112 7.1.1", chunked("3;a\x00\r\nabc\r\n0\r\n\r\n"), 400, ""},
		"extension that is too long":        {"9112 7.1.1", chunked("3;" + strings.Repeat("a", 300) + "\r\nabc\r\n0\r\n\r\n"), 400, ""},
		"extensions that are too many":      {"9112 7.1.1", chunked(strings.Repeat("1;"+strings.Repeat("a", 200)+"\r\nx\r\n", 30) + "0\r\n\r\n"), 400, ""},
		"size line with a bare LF":          {"9112 7.1", chunked("3\nabc\r\n0\r\n\r\n"), 400, ""},
		"data ended by a bare LF":           {"9112 7.1", chunked("3\r\nabc\n0\r\n\r\n"), 400, ""},
		"data ended by CR and a byte":       {"9112 7.1", chunked("3\r\nabc\rx0\r\n\r\n"), 400, ""},
		"data longer than its size":         {"9112 7.1", chunked("3\r\nabcd\r\n0\r\n\r\n"), 400, ""},
		"data shorter than its size":        {"9112 7.1", chunked("4\r\nabc\r\n0\r\n\r\n"), 400, ""},
		"no CRLF after data":                {"9112 7.1", chunked("3\r\nabc0\r\n\r\n"), 400, ""},
		"size with plus":                    {"9112 7.1", chunked("+3\r\nabc\r\n0\r\n\r\n"), 400, ""},
		"size with minus":                   {"9112 7.1", chunked("-3\r\nabc\r\n0\r\n\r\n"), 400, ""},
		"size with 0x":                      {"9112 7.1", chunked("0x3\r\nabc\r\n0\r\n\r\n"), 400, ""},
		"size with a leading blank":         {"9112 7.1", chunked(" 3\r\nabc\r\n0\r\n\r\n"), 400, ""},
		"size with a trailing blank":        {"9112 7.1", chunked("3 \r\nabc\r\n0\r\n\r\n"), 400, ""},
		"size with a blank before ;":        {"9112 7.1.1", chunked("3 ;a\r\nabc\r\n0\r\n\r\n"), 400, ""},
		"size with underscore":              {"9112 7.1", chunked("0_3\r\nabc\r\n0\r\n\r\n"), 400, ""},
		"empty size":                        {"9112 7.1", chunked("\r\nabc\r\n0\r\n\r\n"), 400, ""},
		"empty size with extension":         {"9112 7.1", chunked(";a\r\nabc\r\n0\r\n\r\n"), 400, ""},
		"size that is no number":            {"9112 7.1", chunked("xyz\r\nabc\r\n0\r\n\r\n"), 400, ""},
		"size that overflows 64 bits":       {"9112 7.1", chunked("10000000000000003\r\nabc\r\n0\r\n\r\n"), 400, ""},
		"size that overflows 32 bits":       {"9112 7.1", chunked("100000003\r\nabc\r\n0\r\n\r\n"), 413, ""},
		"size that is negative when signed": {"9112 7.1", chunked("fffffffffffffffd\r\nabc\r\n0\r\n\r\n"), 400, ""},
		"size of many zeros":                {"9112 7.1", chunked(strings.Repeat("0", 40) + "3\r\nabc\r\n0\r\n\r\n"), 400, ""},
		"chunks over the limit together":    {"9110 15.5.14", chunked(strings.Repeat("ffff\r\n"+strings.Repeat("x", 0xffff)+"\r\n", 17)), 413, ""},
		"size after a NUL":                  {"9112 7.1", chunked("\x003\r\nabc\r\n0\r\n\r\n"), 400, ""},
		"size with a fraction":              {"9112 7.1", chunked("3.0\r\nabc\r\n0\r\n\r\n"), 400, ""},
		"size with the suffix h":            {"9112 7.1", chunked("3h\r\nabc\r\n0\r\n\r\n"), 400, ""},
		"size in fullwidth digits":          {"9112 7.1", chunked("\xef\xbc\x93\r\nabc\r\n0\r\n\r\n"), 400, ""},
		"size with a comma":                 {"9112 7.1", chunked("3,3\r\nabc\r\n0\r\n\r\n"), 400, ""},
		"two CRLF after data":               {"9112 7.1", chunked("3\r\nabc\r\n\r\n0\r\n\r\n"), 400, ""},
		"extension that is a request":       {"9112 7.1.1", chunked("3;GET / HTTP/1.1\r\nabc\r\n0\r\n\r\n"), 0, "abc"},
		"trailer with control character":    {"9110 5.5", chunked("0\r\nX: \x01\r\n\r\n"), 400, ""},
		"trailer without name":              {"9112 7.1.2", chunked("0\r\n: y\r\n\r\n"), 400, ""},
		"trailer":                           {"9112 7.1.2", chunked("3\r\nabc\r\n0\r\nX: y\r\nZ:\r\n\r\n"), 0, "abc"},
		"trailer with a bare LF":            {"9112 7.1.2", chunked("0\r\nX: y\n\r\n"), 400, ""},
		"trailer with a bare CR":            {"9112 7.1.2", chunked("0\r\nX: y\rz\r\n\r\n"), 400, ""},
		"trailer that is folded":            {"9112 5.2", chunked("0\r\nX: y\r\n z\r\n\r\n"), 400, ""},
		"trailer without colon":             {"9112 7.1.2", chunked("0\r\nX\r\n\r\n"), 400, ""},
		"trailer with a blank in its name":  {"9112 5.1", chunked("0\r\nX : y\r\n\r\n"), 400, ""},
		"trailers that are too long":        {"9112 7.1.2", chunked("0\r\nX: " + strings.Repeat("y", 5000) + "\r\n\r\n"), 431, ""},
		"end by a bare LF":                  {"9112 7.1", chunked("0\r\n\n"), 400, ""},
		"end by CR and a byte":              {"9112 7.1", chunked("0\r\n\rx"), 400, ""},
		"request in the last chunk":         {"9112 7.1", chunked("0\r\nGET /evil HTTP/1.1\r\nHost: h\r\n\r\n"), 400, ""},
	}
}

func headCases() map[string]Smuggle {
	request := func(line, fields string) string { return line + "\r\n" + fields + "\r\n" }
	return map[string]Smuggle{
		"empty line before the request":      {"9112 2.2", "\r\n" + Canary, 0, ""},
		"two empty lines before the request": {"9112 2.2", "\r\n\r\n" + Canary, 0, ""},
		"many empty lines":                   {"9112 2.2", "\r\n\r\n\r\n" + Canary, 400, ""},
		"bare LF before the request":         {"9112 2.2", "\n" + Canary, 400, ""},
		"bare CR before the request":         {"9112 2.2", "\r" + Canary, 400, ""},
		"blank before the method":            {"9112 3", request(" GET / HTTP/1.1", "Host: h\r\n"), 400, ""},
		"blank before the first field":       {"9112 2.2", request("GET / HTTP/1.1", " Host: h\r\n"), 400, ""},
		"two blanks in the request line":     {"9112 3", request("GET  / HTTP/1.1", "Host: h\r\n"), 400, ""},
		"two blanks before the version":      {"9112 3", request("GET /  HTTP/1.1", "Host: h\r\n"), 400, ""},
		"tab in the request line":            {"9112 3", request("GET\t/ HTTP/1.1", "Host: h\r\n"), 400, ""},
		"blank after the version":            {"9112 3", request("GET / HTTP/1.1 ", "Host: h\r\n"), 400, ""},
		"blank in the target":                {"9112 3.2", request("GET /a b HTTP/1.1", "Host: h\r\n"), 400, ""},
		"no version":                         {"9112 3", request("GET /", "Host: h\r\n"), 400, ""},
		"no target":                          {"9112 3", request("GET HTTP/1.1", "Host: h\r\n"), 400, ""},
		"request line ended by a bare LF":    {"9112 2.2", "GET / HTTP/1.1\nHost: h\r\n\r\n", 400, ""},
		"all lines ended by bare LF":         {"9112 2.2", "GET / HTTP/1.1\nHost: h\n\n", 400, ""},
		"head ended by a bare LF":            {"9112 2.2", "GET / HTTP/1.1\r\nHost: h\r\n\n", 400, ""},
		"bare CR in the request line":        {"9112 2.2", "GET / HTTP/1.1\rX\r\nHost: h\r\n\r\n", 400, ""},
		"bare CR at the end of a value":      {"9112 2.2", "GET / HTTP/1.1\r\nHost: h\r\r\n\r\n", 400, ""},
		"version 0.9":                        {"9112 3", request("GET / HTTP/0.9", "Host: h\r\n"), 505, ""},
		"version 2.0":                        {"9110 15.6.6", request("GET / HTTP/2.0", "Host: h\r\n"), 505, ""},
		"preface of HTTP/2":                  {"9113 3.4", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, ""},
		"version 1.2 is served as 1.1":       {"9110 2.5", request("GET / HTTP/1.2", "Host: h\r\n"), 0, ""},
		"version in lower case":              {"9112 2.3", request("GET / http/1.1", "Host: h\r\n"), 400, ""},
		"version with two digits":            {"9112 2.3", request("GET / HTTP/1.10", "Host: h\r\n"), 400, ""},
		"version with a comma":               {"9112 2.3", request("GET / HTTP/1,1", "Host: h\r\n"), 400, ""},
		"other protocol":                     {"9112 3", request("GET / HTTPS/1.1", "Host: h\r\n"), 400, ""},
		"no Host":                            {"9112 3.2", request("GET / HTTP/1.1", ""), 400, ""},
		"no Host in HTTP/1.0":                {"9112 3.2", request("GET / HTTP/1.0", "Connection: keep-alive\r\n"), 0, ""},
		"empty Host":                         {"9112 3.2", request("GET / HTTP/1.1", "Host:\r\n"), 0, ""},
		"two Hosts":                          {"9112 3.2", request("GET / HTTP/1.1", "Host: a\r\nHost: b\r\n"), 400, ""},
		"two equal Hosts":                    {"9112 3.2", request("GET / HTTP/1.1", "Host: a\r\nHost: a\r\n"), 400, ""},
		"two Hosts in HTTP/1.0":              {"9112 3.2", request("GET / HTTP/1.0", "Host: a\r\nHost: b\r\n"), 400, ""},
		"list of Hosts":                      {"9110 7.2", request("GET / HTTP/1.1", "Host: a, b\r\n"), 400, ""},
		"Host with user":                     {"9110 4.2.4", request("GET / HTTP/1.1", "Host: u@h\r\n"), 400, ""},
		"Host with path":                     {"9110 7.2", request("GET / HTTP/1.1", "Host: h/x\r\n"), 400, ""},
		"Host with a port that is none":      {"9110 7.2", request("GET / HTTP/1.1", "Host: h:8o\r\n"), 400, ""},
		"Host with two ports":                {"9110 7.2", request("GET / HTTP/1.1", "Host: h:80:80\r\n"), 400, ""},
		"Host in brackets":                   {"3986 3.2.2", request("GET / HTTP/1.1", "Host: [::1]:80\r\n"), 0, ""},
		"Host in open brackets":              {"3986 3.2.2", request("GET / HTTP/1.1", "Host: [::1\r\n"), 400, ""},
		"Host with text after its brackets":  {"3986 3.2.2", request("GET / HTTP/1.1", "Host: [::1]evil\r\n"), 400, ""},
		"blank before the colon of Host":     {"9112 5.1", request("GET / HTTP/1.1", "Host : h\r\n"), 400, ""},
		"absolute target":                    {"9112 3.2.2", request("GET http://other/ HTTP/1.1", "Host: h\r\n"), 0, ""},
		"absolute target without Host":       {"9112 3.2", request("GET http://other/ HTTP/1.1", ""), 400, ""},
		"absolute target with user":          {"9110 4.2.4", request("GET http://u:p@h/ HTTP/1.1", "Host: h\r\n"), 400, ""},
		"absolute target without authority":  {"9110 4.2.1", request("GET http:///x HTTP/1.1", "Host: h\r\n"), 400, ""},
		"absolute target of another scheme":  {"9112 3.2.2", request("GET file://h/x HTTP/1.1", "Host: h\r\n"), 400, ""},
		"target without slash":               {"9112 3.2.1", request("GET x HTTP/1.1", "Host: h\r\n"), 400, ""},
		"asterisk for OPTIONS":               {"9112 3.2.4", request("OPTIONS * HTTP/1.1", "Host: h\r\n"), 0, ""},
		"asterisk for GET":                   {"9112 3.2.4", request("GET * HTTP/1.1", "Host: h\r\n"), 400, ""},
		"CONNECT":                            {"9110 9.3.6", request("CONNECT h:80 HTTP/1.1", "Host: h:80\r\n"), 501, ""},
		"fragment in the target":             {"9112 3.2.1", request("GET /a#b HTTP/1.1", "Host: h\r\n"), 400, ""},
		"control character in the target":    {"9112 3.2", request("GET /\x01 HTTP/1.1", "Host: h\r\n"), 400, ""},
		"Latin-1 in the target":              {"3986 2", request("GET /\xe9 HTTP/1.1", "Host: h\r\n"), 400, ""},
		"percent sign alone":                 {"3986 2.1", request("GET /%zz HTTP/1.1", "Host: h\r\n"), 400, ""},
		"percent sign at the end":            {"3986 2.1", request("GET /%4 HTTP/1.1", "Host: h\r\n"), 400, ""},
		"encoded NUL":                        {"3986 2.1", request("GET /%00 HTTP/1.1", "Host: h\r\n"), 400, ""},
		"encoded line end":                   {"3986 2.1", request("GET /%0d%0aX:%20y HTTP/1.1", "Host: h\r\n"), 400, ""},
		"field without colon":                {"9112 5", request("GET / HTTP/1.1", "Host: h\r\nX\r\n"), 400, ""},
		"field without name":                 {"9112 5", request("GET / HTTP/1.1", "Host: h\r\n: x\r\n"), 400, ""},
		"name with a blank":                  {"9112 5.1", request("GET / HTTP/1.1", "Host: h\r\nX y: z\r\n"), 400, ""},
		"name with a bracket":                {"9110 5.1", request("GET / HTTP/1.1", "Host: h\r\nX(y): z\r\n"), 400, ""},
		"value with a NUL":                   {"9110 5.5", request("GET / HTTP/1.1", "Host: h\r\nX: a\x00b\r\n"), 400, ""},
		"value with an escape":               {"9110 5.5", request("GET / HTTP/1.1", "Host: h\r\nX: \x1b[0m\r\n"), 400, ""},
		"value with DEL":                     {"9110 5.5", request("GET / HTTP/1.1", "Host: h\r\nX: \x7f\r\n"), 400, ""},
		"value in Latin-1":                   {"9110 5.5", request("GET / HTTP/1.1", "Host: h\r\nX: \xe9\r\n"), 0, ""},
		"folded value":                       {"9112 5.2", request("GET / HTTP/1.1", "Host: h\r\nX: a\r\n b\r\n"), 400, ""},
		"value folded by a tab":              {"9112 5.2", request("GET / HTTP/1.1", "Host: h\r\nX: a\r\n\tb\r\n"), 400, ""},
		"method that is no token":            {"9110 9.1", request("G(T / HTTP/1.1", "Host: h\r\n"), 400, ""},
		"method with a colon":                {"9110 9.1", request("GET: / HTTP/1.1", "Host: h\r\n"), 400, ""},
		"TLS where HTTP is expected":         {"9112 2", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, ""},
		"target over the limit":              {"9110 15.5.15", request("GET /"+strings.Repeat("a", 9<<10)+" HTTP/1.1", "Host: h\r\n"), 414, ""},
		"target that never ends":             {"9110 15.5.15", "GET /" + strings.Repeat("a", 64<<10), 414, ""},
		"head over the limit":                {"6585 5", request("GET / HTTP/1.1", "Host: h\r\nX: "+strings.Repeat("a", 17<<10)+"\r\n"), 431, ""},
		"head that never ends":               {"6585 5", "GET / HTTP/1.1\r\nX: " + strings.Repeat("a", 64<<10), 431, ""},
		"fields over the limit":              {"6585 5", request("GET / HTTP/1.1", "Host: h\r\n"+strings.Repeat("X: y\r\n", 64)), 431, ""},
	}
}
