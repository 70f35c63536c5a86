// The services of interop.proto, as grpc-js's stock tools make them.
"use strict";

const path = require("node:path");

const grpc = require("@grpc/grpc-js");
const { loadSync } = require("@grpc/proto-loader");

const definition = loadSync(path.join(__dirname, "../protos/interop.proto"), { defaults: true });

module.exports = grpc.loadPackageDefinition(definition).grpc.testing;
