// grpc-js's client for gRPC's interop cases, written with its stock tools: calls our server.
//
// It does not let its user see whether a response came compressed: there the server_compressed cases see only that it
// can be read. For each case of --test_case (separated by commas) it prints its name, and how it failed if it did.
"use strict";

const assert = require("node:assert/strict");
const { once } = require("node:events");
const { readFileSync } = require("node:fs");
const { parseArgs } = require("node:util");

const grpc = require("@grpc/grpc-js");
const { TestService, UnimplementedService } = require("./services.js");

const LARGE_REQUEST = 271828;
const LARGE_RESPONSE = 314159;
const REQUEST_SIZES = [27182, 8, 1828, 45904];
const RESPONSE_SIZES = [31415, 9, 2653, 58979];
const INITIAL = "x-grpc-test-echo-initial";
const TRAILING = "x-grpc-test-echo-trailing-bin";
const SPECIAL_MESSAGE = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n";
const SOAK_CALLS = 10;

// Milliseconds; ends only a case that has failed.
const TIMEOUT = 30_000;

const GZIP = { "grpc.default_compression_algorithm": grpc.compressionAlgorithms.gzip };

// A flag of gRPC for one message, which grpc-js takes but has no name for.
const NO_COMPRESS = 2;

const { status } = grpc;

const cases = {
  async empty_unary(connect) {
    assert.deepEqual((await unary(connect(), "emptyCall", {})).response, {});
  },

  async large_unary(connect) {
    await largeUnary(connect());
  },

  async client_compressed_unary(connect) {
    const [plain, gzip] = [connect(), connect(GZIP)];
    await failsWith(status.INVALID_ARGUMENT, largeUnary(plain, { expectCompressed: { value: true } }));
    await largeUnary(gzip, { expectCompressed: { value: true } });
    await largeUnary(plain, { expectCompressed: { value: false } });
  },

  async server_compressed_unary(connect) {
    const client = connect();
    await largeUnary(client, { responseCompressed: { value: true } });
    await largeUnary(client, { responseCompressed: { value: false } });
  },

  async client_streaming(connect) {
    const requests = REQUEST_SIZES.map((size) => [{ payload: payload(size) }]);
    assert.equal(await aggregatedSize(connect(), requests), REQUEST_SIZES.reduce((sum, size) => sum + size));
  },

  async client_compressed_streaming(connect) {
    const client = connect(GZIP);
    const probe = [{ payload: payload(27182), expectCompressed: { value: true } }, NO_COMPRESS];
    await failsWith(status.INVALID_ARGUMENT, aggregatedSize(client, [probe]));
    const requests = [
      [{ payload: payload(27182), expectCompressed: { value: true } }],
      [{ payload: payload(45904), expectCompressed: { value: false } }, NO_COMPRESS],
    ];
    assert.equal(await aggregatedSize(client, requests), 73086);
  },

  async server_streaming(connect) {
    const call = connect().streamingOutputCall(streamingRequest(RESPONSE_SIZES), deadline());
    assert.deepEqual(await sizes(call), RESPONSE_SIZES);
  },

  async server_compressed_streaming(connect) {
    const responseParameters = [
      { size: 31415, compressed: { value: true } },
      { size: 92653, compressed: { value: false } },
    ];
    assert.deepEqual(await sizes(connect().streamingOutputCall({ responseParameters }, deadline())), [31415, 92653]);
  },

  async ping_pong(connect) {
    const call = connect().fullDuplexCall(deadline());
    const responses = call[Symbol.asyncIterator]();
    for (const [index, size] of RESPONSE_SIZES.entries()) {
      call.write(streamingRequest([size], REQUEST_SIZES[index]));
      assert.equal((await responses.next()).value.payload.body.length, size);
    }
    call.end();
    assert.equal((await responses.next()).done, true);
  },

  async empty_stream(connect) {
    const call = connect().fullDuplexCall(deadline());
    call.end();
    assert.deepEqual(await sizes(call), []);
  },

  async cancel_after_begin(connect) {
    const { call, answer } = streamingInputCall(connect());
    call.cancel();
    await failsWith(status.CANCELLED, answer);
  },

  async cancel_after_first_response(connect) {
    const call = connect().fullDuplexCall(deadline());
    const responses = call[Symbol.asyncIterator]();
    call.write(streamingRequest([31415], 27182));
    assert.equal((await responses.next()).value.payload.body.length, 31415);
    call.cancel();
    await failsWith(status.CANCELLED, responses.next());
  },

  async timeout_on_sleeping_server(connect) {
    const client = connect();
    await unary(client, "emptyCall", {}); // connects, so that it is the call which takes too long
    const call = client.fullDuplexCall({ deadline: Date.now() + 1 });
    call.write(streamingRequest([], 27182));
    await failsWith(status.DEADLINE_EXCEEDED, sizes(call));
  },

  async status_code_and_message(connect) {
    const client = connect();
    const responseStatus = { code: status.UNKNOWN, message: "test status message" };
    await failsWith(status.UNKNOWN, unary(client, "unaryCall", { responseStatus }), responseStatus.message);
    const call = client.fullDuplexCall(deadline());
    call.write({ responseStatus });
    call.end();
    await failsWith(status.UNKNOWN, sizes(call), responseStatus.message);
  },

  async special_status_message(connect) {
    const responseStatus = { code: status.UNKNOWN, message: SPECIAL_MESSAGE };
    await failsWith(status.UNKNOWN, unary(connect(), "unaryCall", { responseStatus }), SPECIAL_MESSAGE);
  },

  async custom_metadata(connect) {
    const client = connect();
    const metadata = new grpc.Metadata();
    metadata.set(INITIAL, "test_initial_metadata_value");
    metadata.set(TRAILING, Buffer.from([0xab, 0xab, 0xab]));

    const { call } = await unary(client, "unaryCall", largeRequest(), metadata);
    expectEcho(await call.headers, await call.trailers);

    const stream = withMetadata(client.fullDuplexCall(metadata, deadline()));
    stream.write(streamingRequest([LARGE_RESPONSE], LARGE_REQUEST));
    stream.end();
    assert.deepEqual(await sizes(stream), [LARGE_RESPONSE]);
    expectEcho(await stream.headers, await stream.trailers);
  },

  async unimplemented_method(connect) {
    await failsWith(status.UNIMPLEMENTED, unary(connect(), "unimplementedCall", {}));
  },

  async unimplemented_service(connect) {
    await failsWith(status.UNIMPLEMENTED, unary(connect({}, UnimplementedService), "unimplementedCall", {}));
  },

  async rpc_soak(connect) {
    const client = connect();
    for (let call = 0; call < SOAK_CALLS; call++) {
      await largeUnary(client);
    }
  },

  async channel_soak(connect) {
    for (let call = 0; call < SOAK_CALLS; call++) {
      await largeUnary(connect());
    }
  },
};

// Make a unary call: its response and the call itself, with promises of its headers and trailers.
function unary(client, method, request, metadata = new grpc.Metadata()) {
  return new Promise((resolve, reject) => {
    const call = withMetadata(
      client[method](request, metadata, deadline(), (error, response) => {
        if (error) {
          reject(error);
        } else {
          resolve({ response, call });
        }
      }),
    );
  });
}

async function largeUnary(client, extra = {}) {
  const { response } = await unary(client, "unaryCall", { ...largeRequest(), ...extra });
  assert.equal(response.payload.body.length, LARGE_RESPONSE);
}

function streamingInputCall(client) {
  let call;
  const answer = new Promise((resolve, reject) => {
    call = client.streamingInputCall(deadline(), (error, response) => (error ? reject(error) : resolve(response)));
  });
  return { call, answer };
}

// What the server counts of requests, each with its write flags if it has any.
async function aggregatedSize(client, requests) {
  const { call, answer } = streamingInputCall(client);
  for (const [request, flags] of requests) {
    call.write(request, flags);
  }
  call.end();
  return (await answer).aggregatedPayloadSize;
}

// The sizes of all responses' bodies, until the call has ended.
async function sizes(call) {
  const found = [];
  for await (const response of call) {
    found.push(response.payload.body.length);
  }
  return found;
}

function withMetadata(call) {
  call.headers = once(call, "metadata").then(([headers]) => headers);
  call.trailers = once(call, "status").then(([ended]) => ended.metadata);
  call.headers.catch(() => {}); // a call that fails may have none; whoever waits for them still sees that
  call.trailers.catch(() => {});
  return call;
}

function expectEcho(headers, trailers) {
  assert.deepEqual(headers.get(INITIAL), ["test_initial_metadata_value"]);
  assert.deepEqual(trailers.get(TRAILING), [Buffer.from([0xab, 0xab, 0xab])]);
}

async function failsWith(code, call, details) {
  const error = await call.then(
    () => assert.fail(`the call did not end with ${status[code]}`),
    (reason) => reason,
  );
  assert.equal(error.code, code, error);
  if (details !== undefined) {
    assert.equal(error.details, details);
  }
}

function largeRequest() {
  return { payload: payload(LARGE_REQUEST), responseSize: LARGE_RESPONSE };
}

function streamingRequest(responses, body = 0) {
  return { payload: payload(body), responseParameters: responses.map((size) => ({ size })) };
}

function payload(size) {
  return { body: Buffer.alloc(size) };
}

function deadline() {
  return { deadline: Date.now() + TIMEOUT };
}

// Run a case over channels of its own.
async function runCase(name, options) {
  const clients = [];
  const connect = (channelOptions = {}, Service = TestService) => {
    const credentials = options.ca_file
      ? grpc.credentials.createSsl(readFileSync(options.ca_file))
      : grpc.credentials.createInsecure();
    const settings = { "grpc.use_local_subchannel_pool": 1, ...channelOptions };
    const client = new Service(`127.0.0.1:${options.server_port}`, credentials, settings);
    clients.push(client);
    return client;
  };
  try {
    await cases[name](connect);
  } finally {
    clients.forEach((client) => client.close());
  }
}

async function main() {
  const string = { type: "string" };
  const { values } = parseArgs({ options: { server_port: string, test_case: string, ca_file: string } });
  for (const name of values.test_case.split(",")) {
    const failure = Object.hasOwn(cases, name)
      ? await runCase(name, values).then(() => "", (error) => error.stack)
      : "there is no such case";
    console.log(JSON.stringify([name, failure]));
  }
}

main();
