"use strict";

// submit hands in a text and returns what the page may read of the answer.
async function submit(api, key, text) {
  const answer = await fetch(api + "/v1/jobs", {
    method: "POST",
    headers: { Authorization: "Bearer " + key, "Content-Type": "application/json", "Idempotency-Key": crypto.randomUUID() },
    body: JSON.stringify({ input: { text: text }, language: "en" }),
  });
  return {
    status: answer.status,
    id: (await answer.json()).id,
    location: answer.headers.get("Location"),
    etag: answer.headers.get("ETag"),
    requestID: answer.headers.get("X-Request-Id"),
    limit: answer.headers.get("RateLimit"),
  };
}

// refused is the status and the type of a problem document.
async function refused(api, path) {
  const answer = await fetch(api + path);
  return { status: answer.status, type: (await answer.json()).type };
}

// live watches a job over WebSocket until the server closes.
function live(api, key, id) {
  return new Promise((resolve) => {
    const url = api.replace("http", "ws") + "/v1/jobs/" + id + "/live?access_token=" + key;
    const socket = new WebSocket(url, ["voicemill.v1.json"]);
    const said = [];
    socket.onmessage = (m) => said.push(JSON.parse(m.data));
    socket.onclose = (e) => resolve({ protocol: socket.protocol, code: e.code, clean: e.wasClean, said: said });
  });
}

// connect submits, reads and cancels over one WebSocket. The text takes longer to
// speak than the cancel takes to arrive.
function connect(api, key) {
  const text = Array.from({ length: 500 }, (_, n) => "This is line " + n + ", from a page that will not hear it.").join("\n\n");
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(api.replace("http", "ws") + "/v1/connect?access_token=" + key, ["voicemill.v1.json"]);
    const said = [];
    socket.onopen = () => socket.send(JSON.stringify({ stream: 1, submit: { spec: { input: { text: text }, language: "en" } } }));
    socket.onmessage = (m) => {
      const reply = JSON.parse(m.data);
      said.push(reply);
      if (reply.accepted) {
        socket.send(JSON.stringify({ stream: 2, get: { id: reply.accepted.job.id } }));
        socket.send(JSON.stringify({ stream: 3, cancel: { id: reply.accepted.job.id } }));
      }
      if (said.filter((r) => r.job).length === 2) socket.close(1000);
    };
    socket.onerror = () => reject(new Error("the connection failed"));
    socket.onclose = (e) => resolve({ protocol: socket.protocol, code: e.code, clean: e.wasClean, said: said });
  });
}

// events watches a job by an EventSource until that gives up by itself, which
// it does when the server answers 204 after the last event.
function events(api, key, id) {
  return new Promise((resolve) => {
    const source = new EventSource(api + "/v1/jobs/" + id + "/events?access_token=" + key);
    const said = [];
    source.addEventListener("progress", (e) => said.push({ id: e.lastEventId, event: JSON.parse(e.data) }));
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED) resolve(said);
    };
  });
}
