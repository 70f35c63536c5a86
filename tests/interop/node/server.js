// grpc-js's server for gRPC's interop cases, written with its stock tools: our client calls it.
//
// It can't compress responses, and can't see whether a request came compressed.
"use strict";

const { readFileSync } = require("node:fs");
const { setTimeout: sleep } = require("node:timers/promises");
const { parseArgs } = require("node:util");

const grpc = require("@grpc/grpc-js");
const { TestService } = require("./services.js");

const INITIAL = "x-grpc-test-echo-initial";
const TRAILING = "x-grpc-test-echo-trailing-bin";

const handlers = {
  emptyCall(call, answer) {
    answer(null, {});
  },

  unaryCall(call, answer) {
    const trailers = echoMetadata(call);
    const { responseSize, responseStatus } = call.request;
    const failure = failureOf(responseStatus);
    if (failure) {
      answer({ ...failure, metadata: trailers });
    } else {
      answer(null, { payload: payload(responseSize) }, trailers);
    }
  },

  async streamingOutputCall(call) {
    await answerRequest(call, call.request);
    call.end();
  },

  streamingInputCall(call, answer) {
    let aggregatedPayloadSize = 0;
    call.on("data", (request) => {
      aggregatedPayloadSize += request.payload.body.length;
    });
    call.on("end", () => answer(null, { aggregatedPayloadSize }));
  },

  fullDuplexCall(call) {
    const trailers = echoMetadata(call);
    let answered = Promise.resolve();
    call.on("data", (request) => {
      answered = answered.then(() => {
        const failure = failureOf(request.responseStatus);
        if (failure) {
          call.emit("error", { ...failure, metadata: trailers });
        }
        return answerRequest(call, request);
      });
    });
    call.on("end", () => answered.then(() => call.end(trailers)));
  },
};

async function answerRequest(call, request) {
  for (const { size, intervalUs } of request.responseParameters) {
    await sleep(intervalUs / 1000);
    call.write({ payload: payload(size) });
  }
}

// Echo the client's metadata; returns the part that is sent with the status.
function echoMetadata(call) {
  const headers = new grpc.Metadata();
  const trailers = new grpc.Metadata();
  call.metadata.get(INITIAL).forEach((value) => headers.add(INITIAL, value));
  call.metadata.get(TRAILING).forEach((value) => trailers.add(TRAILING, value));
  call.sendMetadata(headers);
  return trailers;
}

// The requested status of the call, if any.
function failureOf(responseStatus) {
  return responseStatus?.code ? { code: responseStatus.code, details: responseStatus.message } : undefined;
}

function payload(size) {
  return { body: Buffer.alloc(size) };
}

function main() {
  const string = { type: "string" };
  const { values } = parseArgs({ options: { tls_cert_file: string, tls_key_file: string } });
  const server = new grpc.Server();
  server.addService(TestService.service, handlers);
  const credentials = values.tls_cert_file
    ? grpc.ServerCredentials.createSsl(null, [
        { cert_chain: readFileSync(values.tls_cert_file), private_key: readFileSync(values.tls_key_file) },
      ])
    : grpc.ServerCredentials.createInsecure();
  server.bindAsync("127.0.0.1:0", credentials, (error, port) => {
    if (error) {
      throw error;
    }
    console.log("listening on", port);
  });
}

main();
