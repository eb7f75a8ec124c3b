"""The tensors of CosyVoice3's official model, spoken by espeak-ng.

It needs no GPU and no weights: for trying a pool of Triton servers out, and for the
tests of the driver. The voice of the reference is not imitated. Parameters of the
model in config.pbtxt:

  voice    espeak-ng's name of the voice; en-us
  rate     samples a second of the answer; 24000, what CosyVoice3 has
  dies_on  a text that contains it ends the process, as a bug in native code would
"""

import io
import json
import os
import subprocess
import wave
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import triton_python_backend_utils as pb_utils

PIECE_SECONDS = 0.5  # of a decoupled model's answers


class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        values = {k: v["string_value"] for k, v in config.get("parameters", {}).items()}
        self.voice = values.get("voice", "en-us")
        self.rate = int(values.get("rate", "24000"))
        self.dies_on = values.get("dies_on", "")
        self.decoupled = pb_utils.using_decoupled_model_transaction_policy(config)
        self.speakers = ThreadPoolExecutor(max_workers=os.cpu_count())

    def execute(self, requests):
        answers = list(self.speakers.map(self.answer, requests))
        if not self.decoupled:
            return [pb_utils.InferenceResponse(error=e) if e else response(a) for a, e in answers]
        for request, (samples, error) in zip(requests, answers):
            sender = request.get_response_sender()
            if error:
                sender.send(pb_utils.InferenceResponse(error=error), flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
                continue
            step = int(PIECE_SECONDS * self.rate)
            for at in range(0, samples.size, step):
                sender.send(response(samples[at : at + step]))
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        return None

    def answer(self, request):
        """Returns the samples for a request and None, or None and its error."""
        try:
            text = tensor(request, "target_text")[0][0].decode("utf-8")
            if self.dies_on and self.dies_on in text:
                os._exit(1)
            wave_of = tensor(request, "reference_wav")
            length = int(tensor(request, "reference_wav_len")[0][0])
            if not 0 < length <= wave_of.shape[1] or np.any(wave_of[0][length:]):
                raise ValueError(f"reference_wav_len is {length} for {wave_of.shape[1]} samples, or what follows is not silent")
            if not tensor(request, "reference_text")[0][0]:
                raise ValueError("reference_text is empty")
            return self.speak(text), None
        except Exception as e:  # noqa: BLE001 - one request must not fail the others
            return None, pb_utils.TritonError(str(e))

    def speak(self, text):
        done = subprocess.run(
            ["espeak-ng", "-v", self.voice, "--stdin", "--stdout"], input=text.encode("utf-8"), capture_output=True, check=True, timeout=60
        )
        with wave.open(io.BytesIO(done.stdout)) as w:
            rate = w.getframerate()
        samples = np.frombuffer(done.stdout[44:], dtype="<i2").astype(np.float32) / 32768  # espeak-ng does not know the length it writes
        at = np.arange(int(samples.size * self.rate / rate)) * (rate / self.rate)
        return np.interp(at, np.arange(samples.size), samples).astype(np.float32)

    def finalize(self):
        self.speakers.shutdown()


def tensor(request, name):
    found = pb_utils.get_input_tensor_by_name(request, name)
    if found is None:
        raise ValueError(f"{name} is missing")
    return found.as_numpy()


def response(samples):
    return pb_utils.InferenceResponse(output_tensors=[pb_utils.Tensor("waveform", samples.reshape(1, -1))])
