"""Speaks a text with a library alone, on the CPU, and prints what that took as JSON.

  speak.py kokoro FOLDER VOICE THREADS TEXT    with kokoro-onnx
  speak.py piper FOLDER VOICE THREADS TEXT     with piper
  speak.py pack FOLDER FILE                    makes the archive of voices that kokoro-onnx reads

FOLDER is a model as `voicemill models` installs it, TEXT a file, and the variable
VOICES names the archive. Loading and a first sentence are not in the times.
"""

import json
import os
import resource
import sys
import time

import numpy as np

WARM = "All is well."


def session(folder, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(
        os.path.join(folder, "model.onnx"), options, providers=["CPUExecutionProvider"]
    )


def kokoro(folder, voice, threads):
    from kokoro_onnx import Kokoro

    k = Kokoro.from_session(session(folder, threads), os.environ["VOICES"])

    def speak(text):
        samples, rate = k.create(text, voice=voice, lang="en-us")
        return len(samples) / rate

    return speak


def piper(folder, voice, threads):
    from piper import PiperVoice
    from piper.config import PiperConfig

    with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
        v = PiperVoice(session=session(folder, threads), config=PiperConfig.from_dict(json.load(f)))

    def speak(text):
        return sum(len(c.audio_int16_array) / c.sample_rate for c in v.synthesize(text))

    return speak


def pack(folder, path):
    with open(os.path.join(folder, "model.json"), encoding="utf-8") as f:
        names = json.load(f)["speakers"]
    styles = np.fromfile(os.path.join(folder, "voices.bin"), dtype=np.float32).reshape(len(names), -1, 1, 256)
    with open(path, "wb") as f:
        np.savez(f, **dict(zip(names, styles)))


def main(what, folder, *rest):
    if what == "pack":
        return pack(folder, *rest)
    voice, threads, path = rest
    with open(path, encoding="utf-8") as f:
        text = f.read()
    began = time.monotonic()
    speak = {"kokoro": kokoro, "piper": piper}[what](folder, voice, int(threads))
    speak(WARM)
    loaded, spent = time.monotonic(), time.process_time()
    audio = speak(text)
    print(json.dumps({
        "load_seconds": loaded - began,
        "seconds": time.monotonic() - loaded,
        "cpu_seconds": time.process_time() - spent,
        "audio_seconds": audio,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }))


main(*sys.argv[1:])
