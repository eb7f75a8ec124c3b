"""A small ear: POST /v1/audio/transcriptions over Whisper on a CPU or a GPU.

It loads one model from a folder (`voicemill models install whisper-base` makes it)
and answers as OpenAI's service does, with the times of words where they are asked
for. So many requests as it has workers are heard at once; as many again wait, and
more are refused with 503. It ends with SIGTERM, or with the process that holds
its standard input if it was started with --with-parent.
"""

import argparse
import email.parser
import email.policy
import io
import json
import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy
from faster_whisper import WhisperModel, decode_audio

MAX_BODY = 64 << 20
SAMPLE_RATE = 16000
FRAMES_PER_SECOND = 100
LOOPING = 2.4  # how far text can be packed that says the same over and over


class Refused(Exception):
    """A request that is answered with a status and a sentence."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


class Listener(WhisperModel):
    """Whisper that does not listen to all of the silence that it fills 30 s with.

    Most of the time for a short text goes into that. Without any, it makes words up or
    repeats itself at the end; `tail` seconds, of each thread by itself, keep it from that.
    """

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.own = threading.local()

    def encode(self, features):
        tail = getattr(self.own, "tail", None)
        if tail is not None:
            sound = numpy.flatnonzero(features.any(axis=tuple(range(features.ndim - 1))))
            frames = (sound[-1] + 1 if len(sound) else 0) + int(tail * FRAMES_PER_SECOND)
            features = numpy.ascontiguousarray(features[..., :max(2, frames + frames % 2)])  # it halves them
        return super().encode(features)


class Ear:
    """One model and the places of those who may use it or wait for it."""

    def __init__(self, options):
        self.model = Listener(
            options.model, device=options.device, compute_type=options.compute_type,
            cpu_threads=options.threads, num_workers=options.workers, local_files_only=True)
        self.name = os.path.basename(os.path.normpath(options.model))
        self.beam = options.beam
        self.tail = options.tail
        self.places = threading.BoundedSemaphore(2 * options.workers)
        self.turns = threading.BoundedSemaphore(options.workers)

    def hear(self, audio, language, with_words):
        if not self.places.acquire(blocking=False):
            raise Refused(503, "as many requests wait as may")
        try:
            with self.turns:
                return self.transcribe(audio, language, with_words)
        finally:
            self.places.release()

    def transcribe(self, audio, language, with_words):
        try:
            samples = decode_audio(io.BytesIO(audio), sampling_rate=SAMPLE_RATE)
        except Exception as error:  # of the decoder, whatever it is: the file is not audio
            raise Refused(400, "the file is no audio that can be read: %s" % type(error).__name__) from error
        # One temperature: the same audio is heard the same way each time. Nothing is
        # conditioned on what was heard before: a mistake would go on.
        try:
            segments, info = self.decode(samples, language, with_words, self.tail)
            if self.tail is not None and any(s.compression_ratio > LOOPING for s in segments):
                segments, info = self.decode(samples, language, with_words, None)
        except ValueError as error:
            raise Refused(400, str(error)) from error
        answer = {
            "task": "transcribe", "language": info.language, "duration": info.duration,
            "text": "".join(s.text for s in segments).strip(),
            "segments": [{
                "id": i, "start": s.start, "end": s.end, "text": s.text, "avg_logprob": s.avg_logprob,
                "compression_ratio": s.compression_ratio, "no_speech_prob": s.no_speech_prob,
            } for i, s in enumerate(segments)],
        }
        if with_words:
            answer["words"] = [{"word": w.word.strip(), "start": float(w.start), "end": float(w.end)} for s in segments for w in s.words or []]
        return answer

    def decode(self, samples, language, with_words, tail):
        self.model.own.tail = tail
        segments, info = self.model.transcribe(
            samples, language=language, beam_size=self.beam, temperature=0.0,
            condition_on_previous_text=False, word_timestamps=with_words)
        return list(segments), info


def form(content_type, body):
    """Returns the fields of a multipart body: name to bytes, the last one of each list in a list."""
    head = b"Content-Type: " + content_type.encode("latin-1") + b"\r\n\r\n"
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
    if not message.is_multipart():
        raise Refused(400, "the request is no multipart form")
    fields = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        if name:
            fields.setdefault(name, []).append(part.get_payload(decode=True) or b"")
    return fields


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self):
        if self.path == "/health":
            return self.answer(200, {"status": "ok", "model": self.server.ear.name})
        return self.answer(404, {"error": {"message": "there is nothing at this address"}})

    def do_POST(self):
        try:
            self.answer(200, self.transcription())
        except Refused as refused:
            self.close_connection = True
            self.answer(refused.status, {"error": {"message": str(refused)}})

    def transcription(self):
        length = self.headers.get("Content-Length", "")
        if self.path != "/v1/audio/transcriptions":
            raise Refused(404, "there is nothing at this address")
        if not length.isdigit() or int(length) > MAX_BODY:
            raise Refused(413, "the request needs a length of at most %d bytes" % MAX_BODY)
        fields = form(self.headers.get("Content-Type", ""), self.rfile.read(int(length)))
        if "file" not in fields:
            raise Refused(400, "there is no file")
        value = lambda name: fields.get(name, [b""])[-1].decode("utf-8", "replace").strip()
        form_of_answer = value("response_format") or "json"
        if form_of_answer not in ("json", "verbose_json"):
            raise Refused(400, "response_format must be json or verbose_json")
        words = b"word" in [g.strip() for g in fields.get("timestamp_granularities[]", [])]
        heard = self.server.ear.hear(fields["file"][-1], value("language") or None, words)
        return heard if form_of_answer == "verbose_json" else {"text": heard["text"]}

    def answer(self, status, document):
        body = json.dumps(document, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if status == 503:
            self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Says nothing: whoever asks keeps the log."""


def end_with_parent():
    sys.stdin.buffer.read()
    os._exit(0)


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("model", help="folder of the model")
    options.add_argument("--address", default="127.0.0.1")
    options.add_argument("--port", type=int, default=8095, help="0 takes a free one; it is said on standard output")
    options.add_argument("--workers", type=int, default=1, help="requests that are heard at once")
    options.add_argument("--threads", type=int, default=1, help="of each worker")
    options.add_argument("--beam", type=int, default=1, help="width of the search")
    options.add_argument("--tail", type=float, default=-1, help="seconds of silence that are listened to after the sound; negative: up to 30 s in all")
    options.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    options.add_argument("--compute-type", default="int8")
    options.add_argument("--with-parent", action="store_true", help="end with standard input")
    options = options.parse_args()
    options.tail = None if options.tail < 0 else options.tail
    server = ThreadingHTTPServer((options.address, options.port), Handler)
    server.ear = Ear(options)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    if options.with_parent:
        threading.Thread(target=end_with_parent, daemon=True).start()
    print("http://%s:%d" % server.server_address[:2], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
