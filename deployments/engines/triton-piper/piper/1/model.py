"""A Piper voice behind the tensors of CosyVoice3's model: the reference is not used.

ONNX Runtime speaks, on the CPU or, in instances of KIND_GPU, with CUDA; phonemes come
from espeak-ng. Weights are those of `voicemill models install`. Parameters of the model
in config.pbtxt:

  voice    folder with model.onnx and config.json; by default that of joe, where
           `voicemill models` puts it
  threads  of a text on the CPU; 1: further instances gain more than further threads
"""

import json
import os
import re
import subprocess

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils

PAUSE_SECONDS = 0.2  # behind a sentence
ENDS_SENTENCE = ".!?"
CLAUSE = re.compile(r"(?<=[,.;:!?])[\"'”’»)]*\s+")
FLAG = re.compile(r"\([a-z-]+\)")  # espeak-ng's note that a word is of another language


class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        values = {k: v["string_value"] for k, v in config.get("parameters", {}).items()}
        models = os.environ.get("VOICEMILL_MODELS_DIR") or os.path.expanduser("~/.local/share/voicemill/models")
        folder = values.get("voice", os.path.join(models, "joe"))
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
            self.voice = json.load(f)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(values.get("threads", "1"))
        provider = "CPUExecutionProvider"
        if args["model_instance_kind"] == "GPU":
            provider = ("CUDAExecutionProvider", {"device_id": args["model_instance_device_id"]})
        self.session = onnxruntime.InferenceSession(os.path.join(folder, "model.onnx"), options, providers=[provider])

    # The model does not say how long each row of a batch is, so a text is a call of its own.
    def execute(self, requests):
        return [self.answer(r) for r in requests]

    def answer(self, request):
        try:
            found = pb_utils.get_input_tensor_by_name(request, "target_text")
            samples = self.speak(found.as_numpy()[0][0].decode("utf-8"))
        except Exception as e:  # noqa: BLE001 - one request must not fail the others
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(e)))
        return pb_utils.InferenceResponse(output_tensors=[pb_utils.Tensor("waveform", samples.reshape(1, -1))])

    def speak(self, text):
        pause = np.zeros(int(PAUSE_SECONDS * self.voice["audio"]["sample_rate"]), dtype=np.float32)
        pieces = []
        for sentence in self.sentences(text):
            pieces += [self.sound(sentence), pause]
        if not pieces:
            raise ValueError("there is nothing to speak in the text")
        return np.concatenate(pieces)

    def sentences(self, text):
        """Yields the phonemes of each sentence, punctuation included."""
        phonemes = ""
        for clause in CLAUSE.split(text.strip()):
            spoken = FLAG.sub("", " ".join(self.pronounced(clause).split()))
            if spoken:
                mark = clause[-1] if clause[-1] in ",.;:!?" else ""
                phonemes += spoken + mark + " "
                if mark and mark in ENDS_SENTENCE:
                    yield phonemes.strip()
                    phonemes = ""
        if phonemes:
            yield phonemes.strip()

    def pronounced(self, clause):
        command = ["espeak-ng", "-q", "--ipa", "-v", self.voice["espeak"]["voice"], "--stdin"]
        done = subprocess.run(command, input=clause.encode("utf-8"), capture_output=True, check=True, timeout=60)
        return done.stdout.decode("utf-8")

    def sound(self, phonemes):
        table, how = self.voice["phoneme_id_map"], self.voice["inference"]
        ids = list(table["^"])
        for p in phonemes:
            if p in table:
                ids += table["_"] + table[p]
        ids += table["_"] + table["$"]
        feed = {
            "input": np.array([ids], dtype=np.int64),
            "input_lengths": np.array([len(ids)], dtype=np.int64),
            "scales": np.array([how["noise_scale"], how["length_scale"], how["noise_w"]], dtype=np.float32),
        }
        return self.session.run(None, feed)[0].reshape(-1)
