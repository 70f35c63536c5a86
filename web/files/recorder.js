// Records a voice message, with its loudness over time.

/** The recording ends by itself after this time, in milliseconds. */
export const MAX_VOICE_MS = 30 * 60_000;
/** A shorter recording is not sent, in milliseconds: nothing was said. */
export const MIN_VOICE_MS = 500;
/** The loudness is measured at this interval, in milliseconds. */
const INTERVAL_MS = 50;
/** Values of a waveform: the server's limit. */
const WAVEFORM = 64;
/** For speech: 30 minutes have 7 MB. */
const BITS_PER_SECOND = 32_000;
/** The first one that the browser can record. Safari had no WebM for long. */
const TYPES = ["audio/webm;codecs=opus", "audio/ogg;codecs=opus", "audio/mp4"];

/**
 * The browser's microphone; a test replaces it.
 * @typedef {object} Microphone
 * @property {() => Promise<MediaStream>} open rejects if the person or the browser does not allow it
 * @property {(stream: MediaStream, type: string) => MediaRecorder} record
 * @property {(stream: MediaStream) => {level: () => number, stop: () => void}} meter level: from 0 to 1
 * @property {(type: string) => boolean} supports
 * @property {() => number} now a time in milliseconds, by a clock that is never set
 */

/** @typedef {{bytes: Blob, duration_ms: number, waveform: string}} Voice waveform: bytes in base64 */

export class Recorder {
  /** Called at each measurement, and at the end. */
  onChange = () => {};
  /** The loudness so far, from 0 to 1. @type {number[]} */
  levels = [];
  #stream;
  #recorder;
  #meter;
  #now;
  #began_ms;
  #ended_ms = 0;
  /** @type {Blob[]} */
  #pieces = [];
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #ended;

  /** Begins to record. @param {Microphone} microphone @throws {DOMException} if it can't be used */
  static async begin(microphone = browserMicrophone) {
    const type = TYPES.find(microphone.supports) ?? "";
    const stream = await microphone.open();
    try {
      return new Recorder(microphone, stream, type);
    } catch (fault) {
      close(stream);
      throw fault;
    }
  }

  /** @param {Microphone} microphone @param {MediaStream} stream @param {string} type */
  constructor(microphone, stream, type) {
    this.#stream = stream;
    this.#now = microphone.now;
    this.#began_ms = this.#now();
    this.#recorder = microphone.record(stream, type);
    this.#meter = microphone.meter(stream);
    this.#recorder.ondataavailable = ({ data }) => void this.#pieces.push(data);
    this.#ended = /** @type {Promise<void>} */ (
      new Promise((resolve) => {
        this.#recorder.onstop = () => {
          this.#release();
          resolve();
        };
      })
    );
    this.#recorder.start();
    this.#measure();
  }

  get duration_ms() {
    return Math.round((this.#ended_ms || this.#now()) - this.#began_ms);
  }

  /** Whether it still records: not after its time, nor after the microphone was taken away. */
  get isRecording() {
    return this.#ended_ms === 0;
  }

  /** Ends the recording, and returns it. @returns {Promise<Voice>} */
  async finish() {
    this.#stop();
    await this.#ended;
    const [type = ""] = this.#recorder.mimeType.split(";");
    return { bytes: new Blob(this.#pieces, { type }), duration_ms: this.duration_ms, waveform: waveformOf(this.levels) };
  }

  /** Ends the recording, and drops it. */
  cancel() {
    this.#stop();
  }

  #measure() {
    this.levels.push(this.#meter.level());
    if (this.duration_ms >= MAX_VOICE_MS) this.#stop();
    else this.#timer = setTimeout(() => this.#measure(), INTERVAL_MS);
    this.onChange();
  }

  #stop() {
    if (this.#recorder.state !== "inactive") this.#recorder.stop();
    this.#release();
  }

  /** Ends the use of the microphone. */
  #release() {
    this.#ended_ms ||= this.#now();
    clearTimeout(this.#timer);
    this.#meter.stop();
    close(this.#stream);
    this.onChange();
  }
}

/** Ends the use of a microphone. @param {MediaStream} stream */
function close(stream) {
  for (const track of stream.getTracks()) track.stop();
}

/** The waveform of a recording: the loudest value of each piece. @param {readonly number[]} levels from 0 to 1 */
export function waveformOf(levels) {
  const count = Math.min(levels.length, WAVEFORM);
  const values = Array.from({ length: count }, (_, at) => {
    const piece = levels.slice(Math.floor((at * levels.length) / count), Math.floor(((at + 1) * levels.length) / count));
    return Math.round(255 * Math.min(Math.max(...piece), 1));
  });
  return btoa(String.fromCharCode(...values));
}

/** @type {Microphone} */
const browserMicrophone = {
  now: () => performance.now(),
  open: () => navigator.mediaDevices.getUserMedia({ audio: true }),
  supports: (type) => MediaRecorder.isTypeSupported(type),
  record: (stream, mimeType) => new MediaRecorder(stream, { mimeType, audioBitsPerSecond: BITS_PER_SECOND }),
  meter(stream) {
    const context = new AudioContext();
    const analyser = context.createAnalyser();
    analyser.fftSize = 2_048; // 43 ms at 48 kHz
    context.createMediaStreamSource(stream).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    return {
      level: () => {
        analyser.getFloatTimeDomainData(samples);
        const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
        return Math.min(3 * Math.sqrt(power), 1); // speech has about a third of the full range
      },
      stop: () => void (context.state !== "closed" && context.close()),
    };
  },
};
