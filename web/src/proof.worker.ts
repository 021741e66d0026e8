// Finds the nonce that a guest's proof of work needs, beside the page so that nothing stutters.
import { firstBits } from "./sha256";

type Asked = { challenge: string; difficulty: number };

onmessage = ({ data }: MessageEvent<Asked>) => {
  for (let nonce = 0; ; nonce++) {
    const proof = `${data.challenge}.${nonce}`;
    if (Math.clz32(firstBits(proof)) >= data.difficulty) {
      postMessage(proof);
      return;
    }
  }
};
