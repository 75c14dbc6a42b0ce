export const growth = async () => {}
