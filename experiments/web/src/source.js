// Where pictures come from: a camera or a video file, into one <video>. Errors are sentences for the page.

const CAMERA = {
  NotAllowedError: 'The browser was not allowed to use the camera. Allow it (the sign beside the address), or open a video file.',
  NotFoundError: 'There is no camera here. Open a video file instead.',
  NotReadableError: 'The camera is in use by another program. Close that one, or open a video file.',
};

/** Show the camera in `video`. */
export async function openCamera(video) {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Error('Browsers give the camera to pages of https:// or localhost alone. Open a video file instead.');
  }
  let stream;
  try {
    const wanted = {width: {ideal: 960}, height: {ideal: 720}, facingMode: 'user'};
    stream = await navigator.mediaDevices.getUserMedia({video: wanted, audio: false});
  } catch (error) {
    throw new Error(CAMERA[error.name] ?? `The camera cannot be used (${error.message}). Open a video file instead.`);
  }
  close(video);
  video.srcObject = stream;
  video.loop = false;
  await video.play();
}

/** Play a file in `video`, over and over. */
export async function openFile(video, file) {
  close(video);
  video.src = URL.createObjectURL(file);
  video.loop = true;
  const failed = new Promise((_, reject) => {
    video.onerror = () => reject(new Error(`${file.name} is not a video that this browser can play.`));
  });
  const ready = new Promise(resolve => video.addEventListener('loadeddata', resolve, {once: true}));
  await Promise.race([ready, failed]);
  if (!video.videoWidth) throw new Error(`${file.name} has sound alone, no pictures.`);
  await Promise.race([video.play(), failed]);
}

/** Give camera and file back. */
export function close(video) {
  video.onerror = null;
  video.srcObject?.getTracks().forEach(track => track.stop());
  if (video.src) URL.revokeObjectURL(video.src);
  video.srcObject = null;
  video.removeAttribute('src');
  video.load();
}

/** Call `each(seconds)` for every new picture of `video` while there are some. */
export function everyPicture(video, each) {
  if (video.requestVideoFrameCallback) {
    const next = (_, {mediaTime}) => {
      each(mediaTime);
      video.requestVideoFrameCallback(next);
    };
    video.requestVideoFrameCallback(next);
  } else {
    let before = -1;
    const next = () => {
      if (video.readyState >= 2 && video.currentTime !== before) each((before = video.currentTime));
      requestAnimationFrame(next);
    };
    requestAnimationFrame(next);
  }
}
